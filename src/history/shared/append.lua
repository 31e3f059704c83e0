-- Gives each of a group of commands its place: the end of its room's stream,
-- at the next Lamport time. All of the group or, if it was appended before,
-- nothing. Returns 0, and changes nothing, if this is not the server's log: a
-- record that it left there would be that of a server of the new log.
--
-- Where another Redis gave places before, or this one before a restart, it may
-- have given some that are lost here, and somebody may have seen what was there.
-- So each room's clock first leaps over more than can be lost, once for each
-- such term: two in a row may lose the leap of the first.
--
-- KEYS  the group record, the bell, the bell's number, the log; for each room
--       its stream and its tip
-- ARGV  the group's number, its tag, how long its record lives (ms), how many
--       rings are kept, the log's id, how many rooms there are, the highest
--       Lamport time that the server has seen in any; for each room its number
--       and the highest Lamport time that the server has seen in it; for each
--       command which of these rooms, the sender's Lamport time, how many fields
--       and values follow, and these
local log = redis.call('HMGET', KEYS[4], 'id', 'term')
if log[1] ~= ARGV[5] then return 0 end
local group, tag = tonumber(ARGV[1]), ARGV[2]
if tonumber(redis.call('GET', KEYS[1]) or '0') >= group then return 1 end

-- LamportClock::accepts, where times are doubles: beyond 2^52 nobody moves the
-- clock but by ones.
local AHEAD, MOST = 2 ^ 32, 2 ^ 52
local LEAP = 1000000
local term = tonumber(log[2] or '0')
local rooms, highest = tonumber(ARGV[6]), tonumber(ARGV[7])
local times, numbers, rung = {}, {}, {}
local at = 8
for r = 1, rooms do
  local tip = redis.call('HMGET', KEYS[4 + 2 * r], 'L', 'n', 'term')
  rung[r] = ARGV[at]
  local terms = term - tonumber(tip[3] or '0')
  times[r] = math.max(tonumber(tip[1] or '0'), tonumber(ARGV[at + 1])) + terms * LEAP
  numbers[r] = tonumber(tip[2] or '0')
  at = at + 2
end
while at <= #ARGV do
  local r, sent, fields = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local time = times[r]
  if sent > time and sent <= math.max(time, highest) + AHEAD and sent < MOST then time = sent end
  times[r] = time + 1
  numbers[r] = numbers[r] + 1
  redis.call('XADD', KEYS[3 + 2 * r], string.format('%.0f-0', times[r]),
    'n', string.format('%.0f', numbers[r]), 'group', tag, unpack(ARGV, at + 3, at + 2 + fields))
  at = at + 3 + fields
end
for r = 1, rooms do
  redis.call('HSET', KEYS[4 + 2 * r], 'L', string.format('%.0f', times[r]),
    'n', string.format('%.0f', numbers[r]), 'term', term)
end
local ring = redis.call('INCR', KEYS[3])
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], ring .. '-0', 'rooms', table.concat(rung, ' '))
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return 1
