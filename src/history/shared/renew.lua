-- Renews a server's lease. Returns whether it still held (1 or 0), then every
-- server and whether its lease holds.
--
-- KEYS  the set of servers, the log
-- ARGV  the server's number, the time of its lease (ms), what is its own
local me = tonumber(ARGV[1])
local held = redis.call('EXISTS', 'chitchat:server:' .. ARGV[1])
redis.call('SET', 'chitchat:server:' .. ARGV[1], ARGV[3], 'PX', ARGV[2])
redis.call('SADD', KEYS[1], ARGV[1])
-- As in term.lua.
if tonumber(redis.call('HGET', KEYS[2], 'servers') or '0') < me then
  redis.call('HSET', KEYS[2], 'servers', ARGV[1])
end
local census = { held }
for _, server in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  census[#census + 1] = tonumber(server)
  census[#census + 1] = redis.call('EXISTS', 'chitchat:server:' .. server)
end
return census
