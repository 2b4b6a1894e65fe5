-- Writes a hint into the index of a user, before the record. KEYS[1] the index, ARGV[1] the node's time in
-- milliseconds, ARGV[2] the session's key and its authentication time, ARGV[3] its absolute deadline, ARGV[4]
-- the cap or nothing. If there are others than the cap has room for: answers all members, or a star if they are
-- very many.
--
-- A hint ends with P. Its score is the deadline, and only grows. Beside it there may be a mark of `settle.lua`.
local index, now, deadline = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[3])
local SLACK, STALE, MANY, FIRST_MARK = 600000, 100, 200, '1000000000000000'

redis.call('ZADD', index, 'GT', ARGV[3], ARGV[2] .. 'P')
local ttl = math.max(deadline - now, 0) + SLACK
if redis.call('PTTL', index) < ttl then redis.call('PEXPIRE', index, string.format('%.0f', ttl)) end

-- What has ended by the node's clock and by the server's: neither alone drops a living session.
local time = redis.call('TIME')
local before = string.format('(%.0f', math.min(now, 1000 * time[1]) - SLACK)
for _, stale in ipairs(redis.call('ZRANGEBYSCORE', index, '-inf', before, 'LIMIT', 0, STALE)) do
  redis.call('ZREM', index, stale, stale:sub(1, -2) .. 'S')
end

local count = redis.call('ZCOUNT', index, '-inf', '(' .. FIRST_MARK)
if ARGV[4] == '' or count - 1 < tonumber(ARGV[4]) then return '' end
if count > MANY then return '*' end
return table.concat(redis.call('ZRANGE', index, 0, -1))
