-- What the scripts of one session share; each is prefixed with it. KEYS[1] is the session, ARGV[1] the id of
-- this call, 8 random bytes, and ARGV[2] the node's time in milliseconds.
--
-- The hash of a session: `x` format, logins and lifetime; `t` the times created, seen, authenticated and
-- rotated; `p` 32 bytes of proof and 8 of version; `u` user; `l` label; `d:…` a field of the data; `w` the
-- calls that wrote it lately. Of an ended session `e` is left, with what a repeated call has to know.
local key, id, now = KEYS[1], ARGV[1], tonumber(ARGV[2])

local GONE, CORRUPT, NEWER = 0, -1, -2
local SLACK = 600000 -- milliseconds that the server waits before it collects what has expired
local REMEMBERED, MOST = 120, 64 -- for so many seconds at most so many calls are known again

-- 8 bytes of id and 4 of the server's time in seconds for each call.
local calls = redis.pcall('HGET', key, 'w')
if type(calls) ~= 'string' or #calls % 12 ~= 0 then calls = '' end

-- Whether this very call has been done: a client may send it again by itself, also when others wrote since.
local function done()
  for at = 1, #calls, 12 do
    if calls:sub(at, at + 7) == id then return true end
  end
  return false
end

local function remember()
  local clock = tonumber(redis.call('TIME')[1])
  local first = math.max(1, #calls - 12 * (MOST - 1) + 1)
  while first < #calls and struct.unpack('>I4', calls, first + 8) < clock - REMEMBERED do
    first = first + 12
  end
  return calls:sub(first) .. id .. struct.pack('>I4', clock)
end

-- The record, or nothing and why. Whole milliseconds fit into Lua's doubles.
local function read()
  local x, t, p, u, e = unpack(redis.call('HMGET', key, 'x', 't', 'p', 'u', 'e'))
  if not x then
    return nil, (e or redis.call('EXISTS', key) == 0) and GONE or CORRUPT
  end
  local format = tonumber(x:match('^%d+'))
  if not format or format < 1 then return nil, CORRUPT end
  if format > 1 then return nil, NEWER end
  local logins, lifetime, idle, absolute = x:match('^1 (%d+) ((%d+) (%d+) %d+ [01])$')
  local created, seen, authenticated, rotated =
    (t or ''):match('^(%d+) (%d+) ([%d-]+) ([%d-]+)$')
  authenticated = tonumber(authenticated)
  if not logins or not created or not p or #p ~= 40 or (u and true or false) ~= (authenticated ~= nil) then
    return nil, CORRUPT
  end
  return {
    logins = tonumber(logins), lifetime = lifetime,
    idle = 1000 * idle, absolute = 1000 * absolute,
    created = tonumber(created), seen = tonumber(seen), authenticated = authenticated, rotated = tonumber(rotated),
    proof = p:sub(1, 32), version = p:sub(33), user = u,
  }
end

local function absolute_deadline(r)
  return (r.authenticated or r.created) + r.absolute
end

local function expires_at(r)
  return math.min(absolute_deadline(r), r.seen + r.idle)
end

-- Moves last-seen forward, never past the absolute deadline.
local function see(r)
  r.seen = math.max(r.seen, math.min(now, absolute_deadline(r)))
end

local function millis(time)
  return time and string.format('%.0f', time) or '-'
end

local function times(r)
  return millis(r.created) .. ' ' .. millis(r.seen) .. ' ' .. millis(r.authenticated) .. ' ' .. millis(r.rotated)
end

-- The server collects by a time that only grows: no node's clock ends a session early.
local function keep(r)
  redis.call('PEXPIRE', key, millis(expires_at(r) - now + SLACK), 'GT')
end

local function write(r)
  redis.call('HSET', key,
    'x', string.format('1 %.0f %s', r.logins, r.lifetime), 't', times(r), 'p', r.proof .. r.version, 'w', remember())
  keep(r)
end

-- The delta: ARGV[5] version, ARGV[6] user, ARGV[7] label behind a letter, ARGV[8] lifetime, ARGV[9] whether
-- all fields are removed first, ARGV[10] the lifetime that the entry in the index was made with; empty if it
-- has none. From ARGV[11] fields and JSON texts, empty to remove one.
local function may_bind(r)
  return ARGV[6] == '' or not r.user or r.user == ARGV[6]
end

local OTHER_LIFETIME = 3
local function is_foreseen(r)
  return ARGV[10] == '' or ARGV[10] == r.lifetime
end

local function apply(r)
  r.version = ARGV[5]
  if ARGV[6] ~= '' then
    r.user, r.authenticated, r.logins = ARGV[6], now, math.min(r.logins + 1, 4294967295)
    redis.call('HSET', key, 'u', r.user)
  end
  if ARGV[7] ~= '' then redis.call('HSET', key, 'l', ARGV[7]:sub(2)) end
  if ARGV[8] ~= '' then
    r.lifetime = ARGV[8]
    local idle, absolute = r.lifetime:match('^(%d+) (%d+)')
    r.idle, r.absolute = 1000 * idle, 1000 * absolute
  end
  if ARGV[9] ~= '' then
    for _, field in ipairs(redis.call('HKEYS', key)) do
      if field:sub(1, 2) == 'd:' then redis.call('HDEL', key, field) end
    end
  end
  for at = 11, #ARGV, 2 do
    if ARGV[at + 1] == '' then
      redis.call('HDEL', key, 'd:' .. ARGV[at])
    else
      redis.call('HSET', key, 'd:' .. ARGV[at], ARGV[at + 1])
    end
  end
  see(r)
end

