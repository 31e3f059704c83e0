-- Opens a room, unless it is open. Returns its number.
--
-- KEYS  the rooms' names by number, their numbers by folded name, the bell, the
--       bell's number
-- ARGV  the folded name, the name, how many rings are kept
local known = redis.call('HGET', KEYS[2], ARGV[1])
if known then return tonumber(known) end
local no = redis.call('HLEN', KEYS[1]) + 1
redis.call('HSET', KEYS[1], no, ARGV[2])
redis.call('HSET', KEYS[2], ARGV[1], no)
local ring = redis.call('INCR', KEYS[4])
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], ring .. '-0', 'rooms', no)
return no
