-- ARGV[3] the old proof, ARGV[4] the new one, then the delta. Answers 1 if it is stored, 2 if another call has
-- stored it, 3 if the lifetime is another than was foreseen.
if done() then return 1 end
local r, why = read()
if not r then return why end
local from, to = ARGV[3], ARGV[4]
if now >= expires_at(r) then return GONE end
if r.proof == to then return 2 end
if r.proof ~= from or not may_bind(r) then return GONE end
if not is_foreseen(r) then return OTHER_LIFETIME end
if not apply(r) then return CORRUPT end
r.proof, r.rotated = to, now
remember()
write(r)
return 1
