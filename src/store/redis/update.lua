-- ARGV[3] logins, ARGV[4] the expected version or nothing, then the delta. Answers 1 if it is stored, 2 and
-- the record if it is of another version, 3 if the lifetime is another than was foreseen.
if done() then return 1 end
local r, why = read()
if not r then return why end
if now >= expires_at(r) or r.logins ~= tonumber(ARGV[3]) or not may_bind(r) then return GONE end
if ARGV[4] ~= '' and ARGV[4] ~= r.version then return {2, found} end
if not is_foreseen(r) then return OTHER_LIFETIME end
if not apply(r) then return CORRUPT end
remember()
write(r)
return 1
