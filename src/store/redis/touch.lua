-- ARGV[3] logins. Answers 1 if the session is alive. It can be repeated, so its id isn't kept.
local r, why = read()
if not r then return why end
if now >= expires_at(r) or r.logins ~= tonumber(ARGV[3]) then return GONE end
see(r)
write(r)
return 1
