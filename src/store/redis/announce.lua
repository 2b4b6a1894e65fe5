-- Writes a hint into the index of a user, before the record. KEYS[1] the index, ARGV[1] the node's time in
-- milliseconds, ARGV[2] the session's key and its authentication time, ARGV[3] its absolute deadline, ARGV[4]
-- the cap or nothing. If there are others than the cap has room for, and not very many: answers all members.
--
-- A member ends with P, or with S as soon as its record is known to be stored. Its score only grows.
local index, now, deadline = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[3])
local SLACK, STALE, MANY = 600000, 100, 200

local member = ARGV[2] .. 'S'
if not redis.call('ZSCORE', index, member) then member = ARGV[2] .. 'P' end
redis.call('ZADD', index, 'GT', ARGV[3], member)
local ttl = math.max(deadline - now, 0) + SLACK
if redis.call('PTTL', index) < ttl then redis.call('PEXPIRE', index, string.format('%.0f', ttl)) end

-- What has ended by the node's clock and by the server's: neither alone drops a living session.
local time = redis.call('TIME')
local before = math.min(now, 1000 * time[1]) - SLACK
local stale = redis.call('ZRANGEBYSCORE', index, '-inf', string.format('(%.0f', before), 'LIMIT', 0, STALE)
for _, other in ipairs(stale) do redis.call('ZREM', index, other) end

local count = redis.call('ZCARD', index)
if ARGV[4] == '' or count - 1 < tonumber(ARGV[4]) or count > MANY then return '' end
return table.concat(redis.call('ZRANGE', index, 0, -1))
