-- What the scripts of one session share; each is prefixed with it. KEYS[1] is the session, ARGV[1] the id of
-- this call, 8 random bytes, and ARGV[2] the node's time, 6 bytes of milliseconds.
--
-- A session is one text. It begins, in every later format too, with the format, the authentication time, the
-- user, and the calls that wrote it lately. Then logins, lifetime (seconds: idle, absolute, touch), the times
-- created, seen and rotated, proof, version, label behind a letter. The fields of the data follow, each a name
-- and a JSON text. What is left of an ended session has format 0, and behind the calls what `destroy` answered.
-- What numbers take more than a byte are big-endian. Times fit into Lua's doubles.
local key, id, now = KEYS[1], ARGV[1], struct.unpack('>I6', ARGV[2])

local GONE, CORRUPT, NEWER, OTHER_LIFETIME = 0, -1, -2, 3
local SLACK = 600000 -- milliseconds that the server waits before it collects what has expired
local REMEMBERED, MOST = 120, 256 -- for so many seconds at most so many calls are known again

local HEAD, FIELD = '>BI6Bc0I2c0', '>Bc0I4c0'
local WHOLE = HEAD .. 'I4c12I6I6I6c32c8I2c0'
local NEVER = 281474976710655 -- instead of a time

-- A key of another type is a damaged session.
local found = redis.pcall('GET', key)
if type(found) == 'table' and found.err:sub(1, 9) ~= 'WRONGTYPE' then return found end
local format = type(found) == 'string' and found:byte()
local has_head, authenticated, user, calls, behind, _
if format then has_head, _, authenticated, user, calls, behind = pcall(struct.unpack, HEAD, found) end
local ended = has_head and format == 0 and behind == #found

-- 8 bytes of id and 4 of the server's time in seconds for each call.
if not has_head or #calls % 12 ~= 0 then calls = '' end

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
  calls = calls:sub(first) .. id .. struct.pack('>I4', clock)
end

-- The parts of a record; nothing if it is damaged.
local function parts(record)
  local r, is_whole, _, rest = {}
  is_whole, _, r.authenticated, r.user, _, r.logins, r.lifetime, r.created, r.seen, r.rotated, r.proof,
    r.version, r.label, rest = pcall(struct.unpack, WHOLE, record)
  if not is_whole or (r.user == '') ~= (r.authenticated == NEVER) then return nil end
  r.fields = record:sub(rest)
  return r
end

-- The record that is stored, or nothing and why.
local function read()
  if not found or ended then return nil, GONE end
  if format ~= 1 then return nil, format and format > 1 and NEWER or CORRUPT end
  return parts(found), CORRUPT
end

local function absolute_deadline(r)
  local _, seconds = struct.unpack('>I4I4', r.lifetime)
  return (r.user == '' and r.created or r.authenticated) + 1000 * seconds
end

local function expires_at(r)
  return math.min(absolute_deadline(r), r.seen + 1000 * struct.unpack('>I4', r.lifetime))
end

-- Moves last-seen forward, never past the absolute deadline.
local function see(r)
  r.seen = math.max(r.seen, math.min(now, absolute_deadline(r)))
end

-- Writes the record. The server collects by a time that only grows: no node's clock ends a session early.
local function write(r)
  local record = struct.pack(WHOLE, 1, r.authenticated, #r.user, r.user, #calls, calls, r.logins, r.lifetime,
    r.created, r.seen, r.rotated, r.proof, r.version, #r.label, r.label) .. r.fields
  -- At once if it is `create` of what had ended before.
  local ttl = string.format('%.0f', math.max(expires_at(r) - now + SLACK, 1))
  if found then
    redis.call('SET', key, record, 'KEEPTTL')
    redis.call('PEXPIRE', key, ttl, 'GT')
  else
    redis.call('SET', key, record, 'PX', ttl)
  end
end

-- The delta: ARGV[5] version, ARGV[6] user, ARGV[7] label behind a letter, ARGV[8] lifetime, ARGV[9] whether
-- all fields are removed first, ARGV[10] the lifetime that the entry in the index was made with; empty if it
-- has none. From ARGV[11] fields and JSON texts, empty to remove one.
local function may_bind(r)
  return ARGV[6] == '' or r.user == '' or r.user == ARGV[6]
end

local function is_foreseen(r)
  return ARGV[10] == '' or ARGV[10] == r.lifetime
end

-- The fields after the delta; nothing if those before are damaged.
local function change_fields(fields)
  if #ARGV == 10 then return fields end
  local json_of, kept, at = {}, {}, 1
  for argument = 11, #ARGV, 2 do json_of[ARGV[argument]] = ARGV[argument + 1] end
  while at <= #fields do
    local is_whole, name, _, next = pcall(struct.unpack, FIELD, fields, at)
    if not is_whole then return nil end
    if not json_of[name] then kept[#kept + 1] = fields:sub(at, next - 1) end
    at = next
  end
  for name, json in pairs(json_of) do
    if json ~= '' then kept[#kept + 1] = struct.pack(FIELD, #name, name, #json, json) end
  end
  return table.concat(kept)
end

-- Whether the delta could be applied.
local function apply(r)
  r.version = ARGV[5]
  if ARGV[6] ~= '' then
    r.user, r.authenticated, r.logins = ARGV[6], now, math.min(r.logins + 1, 4294967295)
  end
  if ARGV[7] ~= '' then r.label = ARGV[7] end
  if ARGV[8] ~= '' then r.lifetime = ARGV[8] end
  r.fields = change_fields(ARGV[9] == '' and r.fields or '')
  see(r)
  return r.fields ~= nil
end

