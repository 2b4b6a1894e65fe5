-- ARGV[3] `x`, ARGV[4] `t`, ARGV[5] `p`, ARGV[6] user, ARGV[7] label behind a letter; from ARGV[8] fields
-- and JSON texts. Answers 1 if it is stored, 0 if the key is taken: also by what is left of an ended session,
-- whose entry in the index is perhaps being removed, and would be the new one's.
if done() then return 1 end
if redis.call('EXISTS', key) == 1 then return 0 end
redis.call('HSET', key, 'x', ARGV[3], 't', ARGV[4], 'p', ARGV[5], 'w', remember())
if ARGV[6] ~= '' then redis.call('HSET', key, 'u', ARGV[6]) end
if ARGV[7] ~= '' then redis.call('HSET', key, 'l', ARGV[7]:sub(2)) end
for at = 8, #ARGV, 2 do redis.call('HSET', key, 'd:' .. ARGV[at], ARGV[at + 1]) end
redis.call('PEXPIRE', key, millis(expires_at(read()) - now + SLACK))
return 1
