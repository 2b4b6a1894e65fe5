-- ARGV[3] the owner or nothing. Answers 1 if it has removed a living record, 2 if another, 0 if none; and the
-- user and the authentication time, for the index. Nothing is decoded that may be damaged; `u` and the third
-- time of `t` stay where they are in every later format.
local kind = redis.call('TYPE', key).ok
if kind == 'none' then return {0, '', ''} end
if kind ~= 'hash' then
  if ARGV[3] ~= '' then return {0, '', ''} end
  redis.call('DEL', key)
  return {2, '', ''}
end
local user, t, e = unpack(redis.call('HMGET', key, 'u', 't', 'e'))
local authenticated = (t or ''):match('^%d+ %d+ (%d+)') or ''
if done() then return {tonumber(e) or 0, user or '', authenticated} end
if e or (ARGV[3] ~= '' and ARGV[3] ~= user) then return {0, '', ''} end
local r = read()
local code = r and now < expires_at(r) and 1 or 2
-- What is left for a while makes a repeated `create` or `destroy` known again. The key must not be gone for
-- a moment: while its slot moves it would then be looked for where it moves to.
for _, field in ipairs(redis.call('HKEYS', key)) do
  if field ~= 'w' and field ~= 'u' and field ~= 't' then redis.call('HDEL', key, field) end
end
redis.call('HSET', key, 'e', code, 'w', remember())
redis.call('PEXPIRE', key, 1000 * REMEMBERED)
return {code, user or '', authenticated}
