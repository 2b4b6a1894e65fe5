-- ARGV[3] the owner or nothing. Answers 1 if it has removed a living record, 2 if another, 0 if none; and for
-- the index the authentication time, 6 bytes, and the user. What nobody can read, whoever asks may end.
local NONE = {0, '', ''}
if found.err then
  redis.call('DEL', key)
  return {2, '', ''}
end
if ended then return done() and {ended:byte(), ended:sub(2, 7), ended:sub(8)} or NONE end
if not record then return NONE end
local is_whole, format, _, user = pcall(struct.unpack, HEAD, record)
if not is_whole or format == 0 then
  user = ''
elseif ARGV[3] ~= '' and ARGV[3] ~= user then
  return NONE
end
local r = read()
local code, authenticated = r and now < expires_at(r) and 1 or 2, record:sub(2, 7)
-- What is left for a while makes a repeated `create` or `destroy` known again. The record goes first: a full
-- server lets only him write who has made room. `w` stays meanwhile: without any field the key would be gone,
-- and while its slot moves it would be looked for where it moves to.
redis.call('HDEL', key, 'r')
redis.call('HSET', key, 'e', string.char(code) .. authenticated .. user, 'w', remember())
redis.call('PEXPIRE', key, 1000 * REMEMBERED)
return {code, authenticated, user}
