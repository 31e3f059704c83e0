-- Opens a room, unless it is open or there are too many. Returns 0, and changes
-- nothing, if this is not the server's log.
--
-- KEYS  the rooms' names by number, their numbers by folded name, the bell, the
--       bell's number, the log
-- ARGV  the folded name, the name, how many rings are kept, the log's id, how
--       many rooms there may be
if redis.call('HGET', KEYS[5], 'id') ~= ARGV[4] then return 0 end
local no = redis.call('HGET', KEYS[2], ARGV[1])
if not no then
  no = redis.call('HLEN', KEYS[1]) + 1
  if no > tonumber(ARGV[5]) then return 1 end
  -- A failover that lost rooms may leave gaps between those written back.
  while redis.call('HEXISTS', KEYS[1], no) == 1 do no = no + 1 end
  redis.call('HSET', KEYS[1], no, ARGV[2])
  redis.call('HSET', KEYS[2], ARGV[1], no)
end
-- Also if it is open: whoever asks has not heard of it.
local ring = redis.call('INCR', KEYS[4])
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], ring .. '-0', 'rooms', no)
return 1
