-- Begins a new term if another Redis gave places last.
--
-- KEYS  the log
-- ARGV  the replication id of this one, which it changes when it is started and
--       when it becomes a master
local last = redis.call('HGET', KEYS[1], 'redis')
if last == ARGV[1] then return end
redis.call('HSET', KEYS[1], 'redis', ARGV[1])
if last then redis.call('HINCRBY', KEYS[1], 'term', 1) end
