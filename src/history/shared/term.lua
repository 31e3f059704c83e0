-- Begins a new term if another Redis gave places last, or if a server knows of
-- a later term than this one: a failover lost it.
--
-- KEYS  the log
-- ARGV  the replication id of this one, which it changes when it is started and
--       when it becomes a master; the last term that the server knows of
local found = redis.call('HMGET', KEYS[1], 'redis', 'term')
local last, term, known = found[1], tonumber(found[2] or '0'), tonumber(ARGV[2])
if last == ARGV[1] and known <= term then return end
redis.call('HSET', KEYS[1], 'redis', ARGV[1])
if last then redis.call('HSET', KEYS[1], 'term', math.max(term, known) + 1) end
