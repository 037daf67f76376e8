"""The steps that Redis runs whole. Each may run twice: the second time changes nothing more.

All keys of a step have one ``{tag}``, so that it works on Redis Cluster. Those that are not given
are beside one that is, under a name that was read on the way: an owner's index, a subject's
cut-off. None looks at more than 100 sessions or families of one owner, so that it blocks Redis for
milliseconds, however many there are. Times are texts, which Lua compares and never writes: its
numbers have 14 digits. What cannot be read is removed and reported as ``corrupt``, never guessed
at. Each step answers a list that begins with a word, so that the answer of a stranger is known as
such.
"""

from __future__ import annotations

from .owner_index import INDEX as _INDEX
from .owner_index import WALK as _WALK
from .owner_index import WALK_FAMILIES as _WALK_FAMILIES
from .owner_index import WALK_SESSIONS as _WALK_SESSIONS

# A replica answers from the past, so it is refused. To delete what is not there changes nothing,
# and only a primary does it. A step that has deleted may also write where memory is full:
# so it is with what revokes, and not with what logs in.
_PRIMARY = """
local probe = redis.pcall('DEL', (string.gsub(KEYS[1], ':%l:({..}):.*$', ':p:%1:')))
if type(probe) == 'table' and probe.err and string.find(probe.err, 'READONLY', 1, true) then
  return probe
end
"""

# A mark is the JSON array [1, at, until], or [2, at, until, at of logins] of a subject whose logins
# were ended. One that cannot be read counts as the strictest: no one undoes a revocation by
# damaging it.
_MARKS = """
local function number(text)
  local found = tonumber(text or '')
  if found and found > -9007199254740992 and found < 9007199254740992 then return found end
end
local function parsed(value)
  if type(value) ~= 'string' then return nil end
  local at, till = string.match(value, '^%[1,([^,]+),([^,]+)%]$')
  local logins = '0'
  if not at then at, till, logins = string.match(value, '^%[2,([^,]+),([^,]+),([^,]+)%]$') end
  if number(at) and number(till) and number(logins) then return at, till, logins end
end
local function later(one, other)
  if tonumber(one) > tonumber(other or one) then return one end
  return other or one
end
-- The mark, and for logins the later of it and of theirs.
local function mark(key, now)
  local value = redis.pcall('GET', key)
  if not value then return nil end
  -- In a slot that is being moved, nothing can be said of what is not here: this raises.
  if type(value) == 'table' and not string.find(value.err, 'WRONGTYPE', 1, true) then
    redis.call('GET', key)
  end
  local at, till, logins = parsed(value)
  if not at then return math.huge, math.huge end
  if tonumber(till) > now then return tonumber(at), tonumber(later(at, logins)) end
end
local function set_mark(key, at, till, keep, logins)
  local old_at, old_till, old_logins = parsed(redis.pcall('GET', key))
  keep = tonumber(keep)
  if old_till and tonumber(old_till) > tonumber(till) then
    keep = math.max(keep, redis.call('PTTL', key))
  end
  local parts = {1, later(at, old_at), later(till, old_till)}
  logins = later(logins or '0', old_logins)
  if tonumber(logins) > 0 then parts[1], parts[4] = 2, logins end
  redis.call('SET', key, '[' .. table.concat(parts, ',') .. ']', 'PX', string.format('%d', keep))
end
"""

# KEYS: marks. The empty text stands for a value that is no text.
READ_MARKS = (
    _PRIMARY
    + """
local found = {'marks'}
for i, key in ipairs(KEYS) do
  local value = redis.pcall('GET', key)
  found[i + 1] = type(value) == 'table' and '' or value
end
return found
"""
)

# KEYS: the name of this store. ARGV: one for it, if it has none.
IDENTITY = """
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return {'done', redis.call('GET', KEYS[1])}
"""

# A cut-off only grows, so that what was minted under the one before is told from what is minted
# under this one. That of logins grows out of that of everything, and back.
_GROW = """
local function grow(key, at, till, keep, of_logins)
  local old = redis.pcall('GET', key)
  local old_at, _, old_logins = parsed(old)
  local latest = later(old_at or '0', old_logins)
  if old and not old_at then
    -- What could not be read may have been set by a clock that is ahead, and ends everything.
    at, of_logins = string.format('%.17g', tonumber(at) + 20), false
  elseif tonumber(latest) >= tonumber(at) then
    at = string.format('%.17g', tonumber(latest) + 0.000001)
  end
  if of_logins then
    set_mark(key, old_at or '0', till, keep, at)
  else
    set_mark(key, at, till, keep)
  end
end
"""

# KEYS: cut-off of a subject. ARGV: now, until, milliseconds to keep it. It is kept for as long as
# the last of the subject's API keys may live: one without an end comes back no sooner than in a
# hundred years.
CUT = (
    _PRIMARY
    + _MARKS
    + _GROW
    + """
local till, kept = ARGV[2], tonumber(ARGV[3])
local ends = string.gsub(KEYS[1], ':%l:({..}):(.*)$', ':z:%1:%2')
local last = redis.pcall('ZRANGE', ends, -1, -1, 'WITHSCORES')
-- In a slot that is being moved, nothing can be said of what is not here: this raises.
if last.err and not string.find(last.err, 'WRONGTYPE', 1, true) then
  redis.call('ZRANGE', ends, -1, -1)
end
last = number(last[2])
if last and last > tonumber(till) then
  till = string.format('%.17g', last)
  kept = math.max(kept, math.min(last - tonumber(ARGV[1]), 3153600000) * 1000 + 60000)
end
grow(KEYS[1], ARGV[1], till, kept)
return {'done'}
"""
)

# The same for logins only.
CUT_LOGINS = (
    _PRIMARY
    + _MARKS
    + _GROW
    + """
grow(KEYS[1], ARGV[1], ARGV[2], ARGV[3], true)
return {'done'}
"""
)

# KEYS: mark. ARGV: at, until, milliseconds to keep it.
MARK = (
    _PRIMARY
    + _MARKS
    + """
set_mark(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
return {'done'}
"""
)

_WHOLE = """
local function hash(text)
  return type(text) == 'string' and #text == 43 and not string.find(text, '[^%w_-]')
end
local function beside(key, letter, name)
  return (string.gsub(key, ':%l:({..}):.*$', function(tag)
    return ':' .. letter .. ':' .. tag .. ':' .. name
  end))
end
local function put(key, first)
  for i = first, #ARGV, 2 do redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
end
local function keep(key, seconds)
  redis.call('PEXPIRE', key, string.format('%d', math.ceil(seconds * 1000) + 60000))
end
-- The ends that count: the earlier of what is stored and what the settings give now.
local function earlier(stored, given) return math.min(stored, given or math.huge) end
-- Each is two numbers: the second one is for sessions that are remembered.
local function limits(idle, absolute)
  local function both(text) return string.match(text or '', '^(%S+) (%S+)$') end
  local usual_idle, long_idle = both(idle)
  local usual, long = both(absolute)
  return {
    idle = tonumber(usual_idle), absolute = tonumber(usual) or math.huge,
    remembered = {idle = tonumber(long_idle), absolute = tonumber(long) or math.huge},
  }
end
local function numbers(got, last)
  for i = 1, last do
    got[i] = number(got[i])
    if not got[i] then return false end
  end
  return true
end
"""

_FAMILY = (
    _MARKS
    + _WHOLE
    + _INDEX
    + """
local function ends_of(key, owner)
  return beside(key, 'm', owner)
end
local function delist_family(key, owner)
  if hash(owner) then
    delist(beside(key, 'l', owner), ends_of(key, owner), {name_of(key)})
  end
end
local function move_end(key, got, ending)
  local text = string.format('%.3f', ending)
  redis.pcall('ZADD', ends_of(key, got[8]), 'XX', text, name_of(key))
end
-- Ages are measured by this server's clock: a step may have hung on its way here.
local function clock()
  local time = redis.call('TIME')
  return time[1] .. '.' .. string.format('%06d', time[2])
end
local function age(got, now)
  if got.rotated then return tonumber(clock()) - got.rotated end
  return now - got[2]
end
-- `cuts` keeps the cut-offs of a subject for the next family of it in the same step.
local function family(key, mark_key, now, most, cuts)
  local got = redis.pcall('HMGET', key, 'g', 't', 'i', 'e', 'u', 'b', 'c', 'k', 'j', 'n', 'dead',
                          'r')
  if got.err then
    redis.call('DEL', key)
    return nil, 'corrupt'
  end
  if mark(mark_key, now) then return nil, 'revoked', got end
  if not got[1] and not got[9] then
    return nil, redis.call('DEL', key) == 1 and 'corrupt' or 'gone'
  end
  got.used = type(got[2]) == 'string' and type(got[3]) == 'string' and got[2] .. ' ' .. got[3]
  local whole = numbers(got, 6) and got[1] >= 1 and got[7] and hash(got[8]) and got[9]
  got.rotated = got[12] and number(got[12])
  if not whole or #got[7] + #got[9] > 1048576 or got[12] and not got.rotated then
    redis.call('DEL', key)
    return nil, 'corrupt'
  end
  if most then
    got[3] = earlier(got[3], most.idle and got[2] + most.idle)
    got[4] = earlier(got[4], got[6] + most.absolute)
  end
  if got[11] or now >= got[3] or now >= got[4] then return nil, 'gone', got end
  local known = cuts and cuts[got[8]] or {mark(beside(key, 'c', got[8]), now)}
  if cuts then cuts[got[8]] = known end
  local cut, cut_logins = known[1], known[2]
  -- The third is what is left of it; the fourth, whether it lived until its logins were ended.
  if cut and got[5] < cut_logins then return nil, 'revoked', got, got[5] >= cut end
  return got
end
local function told(why)
  return {why, unpack(redis.call('HMGET', KEYS[1], 'g', 't', 'i', 'j', 'c'))}
end
"""
)

# KEYS: what only the caller found unreadable.
REMOVE = "redis.call('DEL', KEYS[1]) return {'done'}"

# KEYS: family, index of its subject by age. ARGV: now, milliseconds to keep it, its end if it is
# not used, seconds to its absolute end, most that live, end of the marks of those that it ends,
# milliseconds to keep these, then fields and values.
START_FAMILY = (
    _MARKS
    + _WHOLE
    + _INDEX
    + """
local now, seconds, answer = tonumber(ARGV[1]), tonumber(ARGV[4]), {'done'}
local name, ends = name_of(KEYS[1]), beside(KEYS[2], 'm', name_of(KEYS[2]))
put(KEYS[1], 8)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
enlist(KEYS[2], name, ARGV[1], seconds)
enlist(ends, name, ARGV[3], seconds)
for _, old in ipairs(drop_excess(KEYS[2], ends, name, tonumber(ARGV[5]), now)) do
  answer[#answer + 1] = beside(KEYS[1], 'x', old)
  set_mark(answer[#answer], ARGV[1], ARGV[6], ARGV[7])
  redis.call('UNLINK', beside(KEYS[1], 'f', old))
end
return answer
"""
)

# KEYS: family, its mark. ARGV: now, limits.
READ_FAMILY = (
    _PRIMARY
    + _FAMILY
    + """
local now = tonumber(ARGV[1])
local got, why = family(KEYS[1], KEYS[2], now, limits(ARGV[2], ARGV[3]))
if not got then return {why} end
local found = told('alive')
found[7] = string.format('%.6f', age(got, now))
return found
"""
)

# KEYS: family, its mark. ARGV: generation, now, grace, idle end, claims or '', end of the mark,
# milliseconds to keep the mark, a name for this attempt, limits.
# An attempt that is repeated because its reply was lost gets the reply that was lost.
ROTATE_FAMILY = (
    _PRIMARY
    + _FAMILY
    + """
local presented, now, attempt = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[8]
local got, why, dead = family(KEYS[1], KEYS[2], now, limits(ARGV[9], ARGV[10]))
if dead and dead[11] == attempt then return told('reused') end
if not got then return {why} end
local current, age = got[1], age(got, now)
local grace = tonumber(ARGV[3])
local again = presented == current - 1 and got[10] == attempt
if presented == current then
  redis.call('HSET', KEYS[1], 'g', string.format('%d', current + 1), 't', ARGV[2], 'i', ARGV[4],
             'n', attempt, 'r', clock())
  keep(KEYS[1], math.min(tonumber(ARGV[4]), got[4]) - now)
  move_end(KEYS[1], got, math.min(tonumber(ARGV[4]), got[4]))
elseif presented > current then
  return {'gone'}
elseif not again and (presented < current - 1 or grace <= 0 or age < -10 or age > grace) then
  set_mark(KEYS[2], ARGV[2], ARGV[6], ARGV[7])
  redis.call('HSET', KEYS[1], 'dead', attempt, 'c', '{}')
  delist_family(KEYS[1], got[8])
  return told('reused')
end
if ARGV[5] ~= '' then redis.call('HSET', KEYS[1], 'c', ARGV[5]) end
return told((presented == current or again) and 'new' or 'same')
"""
)

# KEYS: family, its mark. ARGV: now, end of the mark, milliseconds to keep the mark.
END_FAMILY = (
    _PRIMARY
    + _FAMILY
    + """
local got, why = family(KEYS[1], KEYS[2], tonumber(ARGV[1]))
local ended, owner = got and told('alive') or {why}, redis.pcall('HGET', KEYS[1], 'k')
delist_family(KEYS[1], owner)
set_mark(KEYS[2], ARGV[1], ARGV[2], ARGV[3])
redis.call('DEL', KEYS[1])
return ended
"""
)

# KEYS: index of a subject by age. ARGV: now, where to go on, limits, end of the marks of those that
# have been ended, milliseconds to keep these.
LIST_FAMILIES = (
    _PRIMARY
    + _FAMILY
    + _WALK
    + _WALK_FAMILIES
    + """
local most = limits(ARGV[3], ARGV[4])
return walk_families(KEYS[1], tonumber(ARGV[1]), ARGV[2], most, ARGV[5], ARGV[6])
"""
)

# Fields of data begin with 'd' and hold the key as JSON, so that putting them side by side gives
# the whole as JSON, and their lengths add up to its length.
_SESSION = (
    _MARKS
    + _WHOLE
    + _INDEX
    + """
local function is_whole(got)
  got.seen, got.idle, got.ends = number(got.s), number(got.i), number(got.e)
  got.born, got.cut_off, got.cleared = number(got.b), number(got.u), number(got.k)
  return got.seen and got.idle and got.ends and got.born and got.cut_off and got.cleared
    and got.j and hash(got.o)
end
local function tighten(got, most)
  if not most then return end
  if got.r then most = most.remembered end
  got.idle, got.ends = earlier(got.idle, most.idle), earlier(got.ends, got.born + most.absolute)
end
local function unlist(key, got)
  delist(beside(key, 'o', got.o), beside(key, 'e', got.o), {name_of(key)})
end
local function is_outlived(key, got, now)
  local _, cut = mark(beside(key, 'c', got.o), now)
  local cleared = mark(beside(key, 'k', got.o), now)
  return cut and got.cut_off < cut or cleared and got.cleared < cleared
end
local function session(key, now, most)
  local all = redis.pcall('HGETALL', key)
  local got, size, whole = {data = {}}, 0, not all.err
  for i = 1, whole and #all or 0, 2 do
    local name, value = all[i], all[i + 1]
    size = size + #name + #value
    if string.byte(name) == 100 then
      got.data[#got.data + 1] = string.sub(name, 2) .. ':' .. value
    else
      got[name] = value
    end
  end
  if whole and #all == 0 then return nil, 'gone' end
  if not whole or not is_whole(got) or size > 17825792 then
    redis.call('UNLINK', key)
    return nil, 'corrupt'
  end
  if is_outlived(key, got, now) then
    redis.call('UNLINK', key)
    unlist(key, got)
    return nil, 'gone'
  end
  tighten(got, most)
  if now >= math.min(got.seen + got.idle, got.ends) then return got, 'expired' end
  return got
end
local function told(why, got)
  return {why, got.s, got.j, '{' .. table.concat(got.data, ',') .. '}'}
end
local function list(key, got, now, ending)
  local name, seconds = name_of(key), got.ends - now
  enlist(beside(key, 'o', got.o), name, got.b, seconds)
  enlist(beside(key, 'e', got.o), name, string.format('%.3f', ending), seconds)
end
local function forget(key, got)
  redis.call('UNLINK', key)
  unlist(key, got)
end
local function used(key, got, now, text)
  local written = redis.pcall('HSET', key, 's', text)
  -- A primary that takes no writes just now still knows it: it lives as long as it did.
  if type(written) == 'table' and written.err then return end
  got.s = text
  local ending = math.min(now + got.idle, got.ends)
  keep(key, ending - now)
  list(key, got, now, ending)
end
"""
)

# What a rework leaves behind: beside the old name, what the new id is made of and the new name; in
# the session under its new name, the old one. Only where both are there is the session had again.
_SUCCESSOR = """
-- The new id was used, so its client has it.
local function settle(key, old)
  if type(old) ~= 'string' or old == '' then return end
  local way = beside(key, 'r', old)
  if redis.pcall('HGET', way, 'n') then redis.call('DEL', way) end
  redis.pcall('HSET', key, 'w', '')
end
local function successor(key, now, most)
  local way = redis.pcall('HMGET', beside(key, 'r', name_of(key)), 'n', 'v')
  if way.err or not way[1] or not string.find(way[2] or '', '^[%w_-]+$') then return nil end
  local new_key = beside(key, 's', way[1])
  local got, ended = session(new_key, now, most)
  if got and not ended and got.w == name_of(key) then return got, new_key, way[2] end
end
"""

# KEYS: session, index of its owner by age, cut-off of its owner, when that was cleared. ARGV: now,
# its end if it is not used, the two cut-offs that it carries, most that live, then fields and
# values. A clearing that cannot be read is set anew: it refuses one login, not all to come.
CREATE_SESSION = (
    _SESSION
    + _GROW
    + """
local now, ending = tonumber(ARGV[1]), tonumber(ARGV[2])
local cleared, _, cut = mark(KEYS[4], now), mark(KEYS[3], now)
if cleared == math.huge then
  grow(KEYS[4], ARGV[1], string.format('%.3f', now + 34560000), 34560000000)
end
if cut and tonumber(ARGV[3]) < cut or cleared and tonumber(ARGV[4]) < cleared then
  return {'revoked'}
end
put(KEYS[1], 6)
keep(KEYS[1], ending - now)
list(KEYS[1], session(KEYS[1], now), now, ending)
local answer, ends = {'created'}, beside(KEYS[2], 'e', name_of(KEYS[2]))
local new, most = name_of(KEYS[1]), tonumber(ARGV[5])
for _, old in ipairs(drop_excess(KEYS[2], ends, new, most, now)) do
  answer[#answer + 1] = beside(KEYS[1], 's', old)
end
if #answer > 1 then redis.call('UNLINK', unpack(answer, 2)) end
return answer
"""
)

# KEYS: session. ARGV: now, limits.
READ_SESSION = (
    _PRIMARY
    + _SESSION
    + _SUCCESSOR
    + """
local now = tonumber(ARGV[1])
local got, why = session(KEYS[1], now, limits(ARGV[2], ARGV[3]))
if not got then return {why} end
settle(KEYS[1], got.w)
if why then
  forget(KEYS[1], got)
elseif now - got.seen >= math.min(60, got.idle / 10) then
  used(KEYS[1], got, now, ARGV[1])
end
return told(why or 'alive', got)
"""
)

# KEYS: session. ARGV: now, most bytes, limits, then fields and values.
UPDATE_SESSION = (
    _SESSION
    + _SUCCESSOR
    + """
local got, why = session(KEYS[1], tonumber(ARGV[1]), limits(ARGV[3], ARGV[4]))
if why then return {why == 'expired' and 'gone' or why} end
settle(KEYS[1], got.w)
local size = 1
for i = 5, #ARGV, 2 do
  local old = redis.call('HGET', KEYS[1], ARGV[i])
  if old then size = size - #ARGV[i] - #old - 1 end
  size = size + #ARGV[i] + #ARGV[i + 1] + 1
end
for _, pair in ipairs(got.data) do size = size + #pair + 1 end
if size > tonumber(ARGV[2]) then return {'too_large'} end
put(KEYS[1], 5)
return {'alive'}
"""
)

# KEYS: session, its new name. ARGV: now, limits, what the new id is made of, milliseconds for which
# the old id gets the same again. An attempt whose reply was lost is the same again at any time.
REWORK_SESSION = (
    _PRIMARY
    + _SESSION
    + _SUCCESSOR
    + """
local now, most = tonumber(ARGV[1]), limits(ARGV[2], ARGV[3])
local function reworked(seed, got)
  local found = told('alive', got)
  found[5] = seed
  return found
end
local got, why = session(KEYS[1], now, most)
if why == 'expired' then return {'gone'} end
if not got then
  local moved, _, seed = successor(KEYS[1], now, most)
  if moved then return reworked(seed, moved) end
  local mine, ended = session(KEYS[2], now, most)
  if mine and not ended then return reworked(ARGV[4], mine) end
  return {why}
end
local way = beside(KEYS[1], 'r', name_of(KEYS[1]))
redis.call('RENAME', KEYS[1], KEYS[2])
settle(KEYS[2], got.w)
redis.call('HSET', KEYS[2], 'w', name_of(KEYS[1]))
redis.call('DEL', way)
redis.call('HSET', way, 'n', name_of(KEYS[2]), 'v', ARGV[4])
redis.call('PEXPIRE', way, ARGV[5])
unlist(KEYS[1], got)
list(KEYS[2], got, now, math.min(got.seen + got.idle, got.ends))
if now > got.seen then used(KEYS[2], got, now, ARGV[1]) end
return reworked(ARGV[4], got)
"""
)

# KEYS: session. ARGV: now, limits. Under an old id, the session that can be had with it.
DELETE_SESSION = (
    _PRIMARY
    + _SESSION
    + _SUCCESSOR
    + """
local now, key, most = tonumber(ARGV[1]), KEYS[1], limits(ARGV[2], ARGV[3])
local got, why = session(key, now, most)
if why == 'gone' then
  local moved, new_key = successor(key, now, most)
  if not moved then return {why} end
  got, key, why = moved, new_key, nil
end
if not got then return {why} end
settle(key, got.w)
forget(key, got)
return told(why or 'alive', got)
"""
)

# KEYS: when an owner was cleared, index of its sessions by age. ARGV: now, end of the clearing,
# milliseconds to keep it, the session that stays, limits.
CLEAR_SESSIONS = (
    _PRIMARY
    + _SESSION
    + _SUCCESSOR
    + _GROW
    + _WALK
    + _WALK_SESSIONS
    + """
local now, kept = tonumber(ARGV[1]), beside(KEYS[2], 's', ARGV[4])
local got = brief(kept)
local stays = got.o == name_of(KEYS[2]) and not is_outlived(kept, got, now)
grow(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
if stays then
  redis.call('HSET', kept, 'k', (parsed(redis.call('GET', KEYS[1]))))
  settle(kept, redis.call('HGET', kept, 'w'))
end
return walk(KEYS[2], now, '', limits(ARGV[5], ARGV[6]))
"""
)

# KEYS: index of an owner by age. ARGV: now, where to go on, limits.
LIST_SESSIONS = (
    _PRIMARY
    + _SESSION
    + _WALK
    + _WALK_SESSIONS
    + """
return walk(KEYS[1], tonumber(ARGV[1]), ARGV[2], limits(ARGV[3], ARGV[4]))
"""
)
