-- Puts the logins of a user in an order: a login ends only sessions that have settled before it, so two never
-- end each other, and the last one sees all others. KEYS[1] the index, ARGV[1] the cap, then the keys and
-- authentication times of sessions that were found to be stored, that of this login last.
--
-- The mark beside a hint ends with S. Its score is its place in the order: microseconds, far above all
-- deadlines, which are milliseconds. Answers the marks before this login if there may be more than the cap.
local index, FIRST_MARK = KEYS[1], '1000000000000000'

local function place(entry)
  return redis.call('ZSCORE', index, entry .. 'S')
end

local time = redis.call('TIME')
local last = tonumber(redis.call('ZRANGE', index, -1, -1, 'WITHSCORES')[2]) or 0
local next = math.max(1000000 * time[1] + time[2], last + 1)
for at = 2, #ARGV do
  if redis.call('ZSCORE', index, ARGV[at] .. 'P') and not place(ARGV[at]) then
    redis.call('ZADD', index, string.format('%.0f', next), ARGV[at] .. 'S')
    next = next + 1
  end
end
local own = place(ARGV[#ARGV])
if not own or redis.call('ZCOUNT', index, '-inf', '(' .. FIRST_MARK) <= tonumber(ARGV[1]) then return '' end
return table.concat(redis.call('ZRANGEBYSCORE', index, FIRST_MARK, '(' .. own))
