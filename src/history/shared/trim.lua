-- Adds a snapshot of a room to its list and, if the room may begin later,
-- removes what lies before: snapshots and the entries that led to them. In one
-- step, so that whoever reads finds a snapshot and every entry after it. If the
-- room begins past the snapshot by now, nothing is done.
--
-- KEYS  the snapshots, the stream
-- ARGV  the snapshot's Lamport time, the snapshot, one of nothing, with which a
--       list begins, the Lamport time of the one at which the room is to begin
--       (0: where it does), snapshots between the first and the last that are
--       not needed any more
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if not first[2] then
  redis.call('ZADD', KEYS[1], 0, ARGV[3])
elseif tonumber(first[2]) > tonumber(ARGV[1]) then
  return 0
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], ARGV[1], ARGV[1])
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
for i = 5, #ARGV do redis.call('ZREMRANGEBYSCORE', KEYS[1], ARGV[i], ARGV[i]) end
if ARGV[4] ~= '0' then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[4])
  redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f-0', tonumber(ARGV[4]) + 1))
end
return 1
