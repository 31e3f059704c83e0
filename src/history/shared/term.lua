-- Begins a new term if another Redis gave places last, or if a server knows of
-- a later term than this one: a failover lost it. It may have lost the number
-- that this server took, too: nobody else must get it.
--
-- KEYS  the log
-- ARGV  the server's number; the last term that it knows of; the replication id
--       of this Redis, which it changes when it is started and when it becomes a
--       master, or nothing if it does not tell
local found = redis.call('HMGET', KEYS[1], 'redis', 'term', 'servers')
local last, term, known = found[1], tonumber(found[2] or '0'), tonumber(ARGV[2])
if tonumber(found[3] or '0') < tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 'servers', ARGV[1])
end
if ARGV[3] == '' or (last == ARGV[3] and known <= term) then return end
redis.call('HSET', KEYS[1], 'redis', ARGV[3])
if last then redis.call('HSET', KEYS[1], 'term', math.max(term, known) + 1) end
