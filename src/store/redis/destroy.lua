-- ARGV[3] the owner or nothing, ARGV[4] the authentication time of the login to end or nothing. Answers 1 if it
-- has removed a living record, 2 if another, 0 if none; and for the index the authentication time, 6 bytes, and
-- the user. What nobody can read, whoever asks may end.
local NONE = {0, '', ''}
if not found then return NONE end
if ended then return done() and {found:byte(-1), found:sub(2, 7), user} or NONE end
if not format then
  redis.call('DEL', key)
  return {2, '', ''}
end
if not has_head or format == 0 then
  authenticated, user = NEVER, ''
elseif ARGV[3] ~= '' and ARGV[3] ~= user then
  return NONE
elseif ARGV[4] ~= '' and ARGV[4] ~= struct.pack('>I6', authenticated) then
  return NONE
end
local r = read()
local code = r and now < expires_at(r) and 1 or 2
-- What is left for a while makes a repeated `create` or `destroy` known again. The time goes first: a full
-- server lets only him write more who has begun to write. The key stays: while its slot moves, one that is not
-- there would be looked for where it moves to.
remember()
redis.call('PEXPIRE', key, 1000 * REMEMBERED)
redis.call('SET', key, struct.pack(HEAD .. 'B', 0, authenticated, #user, user, #calls, calls, code), 'KEEPTTL')
return {code, struct.pack('>I6', authenticated), user}
