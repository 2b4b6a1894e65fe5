-- Runs what the other scripts do, on a key of its own that is gone afterwards: the access list, memory, the
-- disk and the replicas have to let it. What fails is named.
local key = KEYS[1]
for _, command in ipairs({
  {'HSET', key, 'x', '1', 'd:a', '2'}, {'HGET', key, 'x'}, {'HMGET', key, 'x', 'y'}, {'HGETALL', key},
  {'HKEYS', key}, {'HDEL', key, 'd:a'}, {'PEXPIRE', key, 60000}, {'EXISTS', key},
  {'TYPE', key}, {'DEL', key}, {'ZADD', key, 'GT', 1, 'a'}, {'PTTL', key}, {'PEXPIRE', key, 60000, 'GT'},
  {'ZSCORE', key, 'a'}, {'ZCOUNT', key, '-inf', '(1'}, {'ZRANGE', key, 0, -1},
  {'ZRANGEBYSCORE', key, '-inf', '(1', 'LIMIT', 0, 1}, {'ZREM', key, 'a'}, {'DEL', key}, {'TIME'},
}) do
  local answer = redis.pcall(unpack(command))
  if type(answer) == 'table' and answer.err then
    return redis.error_reply(answer.err .. ' (' .. command[1] .. ')')
  end
end
return 1
