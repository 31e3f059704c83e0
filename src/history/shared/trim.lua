-- Adds a snapshot of a room to its list and, if the room may begin later,
-- removes what lies before: snapshots and the entries that led to them. In one
-- step, so that whoever reads finds a snapshot and every entry after it.
--
-- KEYS  the snapshots, the stream
-- ARGV  the snapshot's Lamport time, the snapshot, the Lamport time of the one
--       at which the room is to begin (0: where it does), snapshots between
--       the first and the last that are not needed any more
redis.call('ZREMRANGEBYSCORE', KEYS[1], ARGV[1], ARGV[1])
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
for i = 4, #ARGV do redis.call('ZREMRANGEBYSCORE', KEYS[1], ARGV[i], ARGV[i]) end
if ARGV[3] ~= '0' then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. ARGV[3])
  redis.call('XTRIM', KEYS[2], 'MINID', string.format('%.0f-0', tonumber(ARGV[3]) + 1))
end
return 1
