-- Writes back rooms that a server knows and a failover lost. Returns 0, and
-- changes nothing, if a number or a name of theirs is another room's now.
--
-- KEYS  the rooms' names by number, their numbers by folded name, the bell, the
--       bell's number
-- ARGV  how many rings are kept; for each room its number, its folded name, its
--       name
local lost, numbers = {}, {}
for i = 2, #ARGV, 3 do
  local name = redis.call('HGET', KEYS[1], ARGV[i])
  local no = redis.call('HGET', KEYS[2], ARGV[i + 1])
  if (name and name ~= ARGV[i + 2]) or (no and no ~= ARGV[i]) then return 0 end
  if not name or not no then
    lost[#lost + 1] = i
    numbers[#numbers + 1] = ARGV[i]
  end
end
if #lost == 0 then return 1 end
for _, i in ipairs(lost) do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
  redis.call('HSET', KEYS[2], ARGV[i + 1], ARGV[i])
end
local ring = redis.call('INCR', KEYS[4])
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[1], ring .. '-0', 'rooms', table.concat(numbers, ' '))
return 1
