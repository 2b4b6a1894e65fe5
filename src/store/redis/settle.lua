-- Puts logins of a user in an order: a login ends only sessions that have settled before it, so two never end
-- each other, and the last one sees all others. KEYS[1] the index, ARGV[1] the cap, ARGV[2] the entry of this
-- login, the others those of sessions that were found to be stored.
--
-- Answers all settled members behind a dot if there may be more than the cap; nothing if another login has
-- settled this one, and sees to the cap.
local index = KEYS[1]

local function settle(entry)
  local deadline = redis.call('ZSCORE', index, entry .. 'P')
  if not deadline then return false end
  redis.call('ZREM', index, entry .. 'P')
  redis.call('ZADD', index, 'GT', deadline, entry .. 'S')
  return true
end

local first = settle(ARGV[2])
for at = 3, #ARGV do settle(ARGV[at]) end
if not first then return '' end
if redis.call('ZCARD', index) <= tonumber(ARGV[1]) then return '.' end
local settled = {}
for _, member in ipairs(redis.call('ZRANGE', index, 0, -1)) do
  if member:sub(-1) == 'S' then settled[#settled + 1] = member end
end
return '.' .. table.concat(settled)
