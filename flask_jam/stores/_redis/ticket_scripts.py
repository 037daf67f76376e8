"""The steps for tickets that Redis runs whole.

A ticket names the *line* that it is of: the tickets of one owner and purpose that are good beside
each other. A ticket that replaces begins a new line, so all older ones end in one step, however
many there are. A ticket whose line is not there is dead.
"""

from __future__ import annotations

from .scripts import _MARKS, _PRIMARY, _WHOLE

_TICKET = (
    _MARKS
    + _WHOLE
    + """
local function name_of(key)
  return string.match(key, ':%l:{..}:(.*)$')
end
local function line_of(key)
  local read = redis.pcall('HMGET', key, 'l', 'e', 'c', 'r', 'u')
  if read.err then
    -- In a slot that is being moved, nothing can be said of what is not here: this raises.
    if not string.find(read.err, 'WRONGTYPE', 1, true) then redis.call('HMGET', key, 'l') end
    return {}
  end
  local got = {name = read[1], ends = number(read[2]), issued = number(read[3]),
               redeemed = number(read[4]), cut_off = number(read[5])}
  local whole = got.name and got.ends and got.issued and got.redeemed and got.cut_off
  return whole and got or {}
end
local function ticket(key)
  local read = redis.pcall('HMGET', key, 'p', 'b', 'e', 'u', 'o', 'n', 'l', 'j', 'd', 'w', 'x')
  if read.err then
    redis.call('UNLINK', key)
    return nil, 'corrupt'
  end
  local got = {purpose = read[1], bound = read[2], ends = number(read[3]),
               cut_off = number(read[4]), owner = read[5], line_key = read[6], line = read[7],
               fixed = read[8], data = read[9], redeemed = read[10], replaced = read[11]}
  -- Nothing is deleted where nothing is: a step that has deleted may write where memory is full.
  if not got.purpose and not got.fixed then return nil, 'gone' end
  local whole = got.purpose and got.bound and got.ends and got.cut_off and hash(got.owner)
    and hash(got.line_key) and got.line and got.fixed and got.data
  if not whole or #got.fixed + #got.data > 65536 then
    redis.call('UNLINK', key)
    return nil, 'corrupt'
  end
  got.line_key = beside(key, 'w', got.line_key)
  return got
end
-- KEYS: ticket. ARGV: now, purpose, digest of what it is bound to; '*' for anything.
local function state(got)
  local now = tonumber(ARGV[1])
  if got.purpose ~= ARGV[2] then return 'wrong_purpose' end
  if now >= got.ends then return 'gone' end
  if got.redeemed then return 'reused' end
  local cut = mark(beside(KEYS[1], 'c', got.owner), now)
  if cut and got.cut_off < cut then return 'revoked' end
  if line_of(got.line_key).name ~= got.line then return 'revoked' end
  return (ARGV[3] == '*' or got.bound == ARGV[3]) and 'good' or 'unbound'
end
"""
)

# KEYS: ticket, line of its owner and purpose, cut-off of its owner. ARGV: now, its end, '1' if it
# replaces, then fields and values. One that is there already was issued by this very call.
ISSUE_TICKET = (
    _TICKET
    + """
local now, ends, replace = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'
local issued = ticket(KEYS[1])
if issued then return {'done', issued.replaced == '1' and 'replaced' or 'created'} end
if mark(KEYS[3], now) == math.huge then return {'done', 'revoked'} end
local cut_off, name = parsed(redis.call('GET', KEYS[3])) or '0', name_of(KEYS[1])
local line, replaced = line_of(KEYS[2]), ''
if not line.name and redis.call('TYPE', KEYS[2]).ok ~= 'none' then redis.call('UNLINK', KEYS[2]) end
local is_over = not line.name or line.cut_off < tonumber(cut_off)
if replace and not is_over and now < line.ends and line.redeemed < line.issued then
  replaced = '1'
end
if is_over or replace then line = {name = name, ends = ends, issued = 0, redeemed = 0} end
put(KEYS[1], 4)
redis.call('HSET', KEYS[1], 'l', line.name, 'u', cut_off, 'x', replaced)
keep(KEYS[1], ends - now)
redis.call('HSET', KEYS[2], 'l', line.name, 'u', cut_off,
           'e', string.format('%.3f', math.max(line.ends, ends)),
           'c', string.format('%d', line.issued + 1), 'r', string.format('%d', line.redeemed))
if redis.call('PTTL', KEYS[2]) < (ends - now) * 1000 + 60000 then keep(KEYS[2], ends - now) end
return {'done', replaced == '1' and 'replaced' or 'created'}
"""
)

# KEYS: ticket. ARGV: now, purpose, digest of what it is bound to.
PEEK_TICKET = (
    _PRIMARY
    + _TICKET
    + """
local got, why = ticket(KEYS[1])
if not got then return {'done', why} end
return {'done', state(got), got.fixed, got.data}
"""
)

# KEYS: ticket. ARGV: now, purpose, digest of what it is bound to, a name for this call.
# A call that is repeated because its reply was lost gets the reply that was lost.
REDEEM_TICKET = (
    _PRIMARY
    + _TICKET
    + """
local got, why = ticket(KEYS[1])
if not got then return {'done', why} end
if got.redeemed == ARGV[4] then return {'done', 'good', got.fixed, got.data} end
local said = state(got)
if said == 'good' then
  redis.call('HSET', KEYS[1], 'w', ARGV[4])
  local redeemed = line_of(got.line_key).redeemed + 1
  redis.call('HSET', got.line_key, 'r', string.format('%d', redeemed))
end
return {'done', said, got.fixed, got.data}
"""
)
