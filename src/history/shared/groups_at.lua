-- The groups of the entries at these places; nil where there is none.
--
-- KEYS  streams
-- ARGV  an id for each
local groups = {}
for i = 1, #KEYS do
  groups[i] = false
  local found = redis.call('XRANGE', KEYS[i], ARGV[i], ARGV[i])
  local values = found[1] and found[1][2] or {}
  for at = 1, #values, 2 do
    if values[at] == 'group' then groups[i] = values[at + 1] end
  end
end
return groups
