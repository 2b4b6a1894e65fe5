-- Runs what the other scripts do, on a key of its own that is gone afterwards: the access list, memory, the
-- disk and the replicas have to let it. What fails is named.
local key = KEYS[1]
for _, command in ipairs({
  {'GET', key}, {'SET', key, '1', 'PX', 60000}, {'SET', key, '2', 'KEEPTTL'}, {'PEXPIRE', key, 60000},
  {'PEXPIRE', key, 60000, 'GT'}, {'DEL', key}, {'ZADD', key, 'GT', 1, 'a'}, {'PTTL', key},
  {'ZSCORE', key, 'a'}, {'ZCOUNT', key, '-inf', '(1'}, {'ZRANGE', key, 0, -1},
  {'ZRANGEBYSCORE', key, '-inf', '(1', 'LIMIT', 0, 1}, {'ZREM', key, 'a'}, {'DEL', key}, {'TIME'},
}) do
  local answer = redis.pcall(unpack(command))
  if type(answer) == 'table' and answer.err then
    return redis.error_reply(answer.err .. ' (' .. command[1] .. ')')
  end
end
return 1
