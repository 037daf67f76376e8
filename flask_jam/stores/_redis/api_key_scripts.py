"""The steps for API keys that Redis runs whole.

What has ended stays a day: ``x`` is the attempt that has ended it. A key without an end has one in
a future that none will see, so that ends are numbers; Redis keeps it for a hundred years.
"""

from __future__ import annotations

from .owner_index import INDEX as _INDEX
from .owner_index import WALK as _WALK
from .scripts import _MARKS, _PRIMARY, _WHOLE

#: The end of a key that has none.
NO_END = "9e15"

_API_KEY = (
    _MARKS
    + _WHOLE
    + _INDEX
    + """
local DAY, LONGEST = 86400, 3153600000
local function expire(key, seconds)
  keep(key, math.min(math.max(seconds, 0), LONGEST) + DAY)
end
local function is_name(text) return text ~= '' and not string.find(text, '[^%w%p ]') end
local function is_cut(key, got, now)
  local cut = mark(beside(key, 'c', got.o), now)
  return cut and got.cut_off < cut
end
-- A key as it is, and why it is not alive: revoked or expired. Without one, why there is none.
local function api_key(key, now)
  local read = redis.pcall('HMGET', key, 'b', 'e', 'u', 'o', 'h', 'j', 'l', 'n', 'x')
  if read.err then
    -- In a slot that is being moved, nothing can be said of what is not here: this raises.
    if not string.find(read.err, 'WRONGTYPE', 1, true) then redis.call('HMGET', key, 'b') end
    redis.call('UNLINK', key)
    return nil, 'corrupt'
  end
  local got = {b = read[1], e = read[2], u = read[3], o = read[4], h = read[5], j = read[6],
               l = read[7], n = read[8], x = read[9]}
  got.born, got.ends, got.cut_off = number(got.b), number(got.e), number(got.u)
  got.used = got.l and number(got.l)
  local whole = got.born and got.ends and got.cut_off and hash(got.o) and got.h and got.j
  whole = whole and (got.used or not got.l) and (not got.n or is_name(got.n))
  if not whole or #got.j > 65536 then
    return nil, redis.call('UNLINK', key) == 1 and 'corrupt' or 'gone'
  end
  if got.x or is_cut(key, got, now) then return got, 'revoked' end
  if now >= got.ends then return got, 'expired' end
  return got
end
local function told(word, got)
  return {word, got.j, got.h, got.b, got.e, got.u, got.l or '', got.n or '', got.x or ''}
end
local function both(key, got) return beside(key, 'y', got.o), beside(key, 'z', got.o) end
-- They live as long as the last of what they name.
local function expire_indexes(ages, ends, now)
  local last = redis.call('ZRANGE', ends, -1, -1, 'WITHSCORES')[2]
  for _, index in ipairs({ages, ends}) do expire(index, tonumber(last or now) - now) end
end
local function list(key, got, now)
  local ages, ends = both(key, got)
  is_index(ages)
  is_index(ends)
  redis.call('ZADD', ages, got.b, name_of(key))
  redis.call('ZADD', ends, got.e, name_of(key))
  expire_indexes(ages, ends, now)
end
-- An index that was lost is made anew by a use, so that the owner sees the key again.
local function relist(key, got, now)
  if type(redis.pcall('ZSCORE', beside(key, 'y', got.o), name_of(key))) ~= 'string' then
    list(key, got, now)
  end
end
local function unlist(key, got)
  local ages, ends = both(key, got)
  delist(ages, ends, {name_of(key)})
end
-- It stays to be refused as revoked, and to repeat the step that has ended it.
local function bury(key, got, attempt)
  redis.call('HSET', key, 'x', attempt)
  expire(key, 0)
  unlist(key, got)
end
"""
)

# KEYS: key, cut-off of its owner. ARGV: now, the hash of the key, the cut-off that it carries, its
# end, fields and values. What is there with this hash was made by this step before, and may have
# been ended since.
CREATE_API_KEY = (
    _PRIMARY
    + _API_KEY
    + """
local now = tonumber(ARGV[1])
local known, why = api_key(KEYS[1], now)
if known then return {known.h == ARGV[2] and why ~= 'revoked' and 'created' or 'revoked'} end
local cut = mark(KEYS[2], now)
if cut and tonumber(ARGV[3]) < cut then return {'revoked'} end
put(KEYS[1], 5)
expire(KEYS[1], tonumber(ARGV[4]) - now)
local got = api_key(KEYS[1], now)
local ages, ends = both(KEYS[1], got)
list(KEYS[1], got, now)
prune(ages, ends, now)
return {'created'}
"""
)

# KEYS: key. ARGV: now, the hash of the key that came.
READ_API_KEY = (
    _PRIMARY
    + _API_KEY
    + """
local now = tonumber(ARGV[1])
local got, why = api_key(KEYS[1], now)
if not got then return {why} end
if not why and got.h == ARGV[2] and not (got.used and now - got.used < 60) then
  -- A primary that takes no writes just now still knows it.
  local written = redis.pcall('HSET', KEYS[1], 'l', ARGV[1])
  if type(written) ~= 'table' then
    got.l = ARGV[1]
    relist(KEYS[1], got, now)
  end
end
return told(why or 'alive', got)
"""
)

# KEYS: key, its successor. ARGV: now, hash of the owner, hash of the successor, end of the overlap
# or ''. The name of the successor is that of the attempt.
ROTATE_API_KEY = (
    _PRIMARY
    + _API_KEY
    + """
local now, new = tonumber(ARGV[1]), name_of(KEYS[2])
local got, why = api_key(KEYS[1], now)
if not got or got.o ~= ARGV[2] then return {got and 'gone' or why} end
if got.n == new then
  local made, lost = api_key(KEYS[2], now)
  return made and told(lost or 'new', made) or {lost}
end
if got.n then return {'reused', got.n} end
if why then return {'dead', why} end
redis.call('HSET', KEYS[2], 'j', got.j, 'h', ARGV[3], 'b', ARGV[1], 'e', got.e, 'u', got.u,
           'o', got.o)
expire(KEYS[2], got.ends - now)
local made = api_key(KEYS[2], now)
list(KEYS[2], made, now)
redis.call('HSET', KEYS[1], 'n', new)
if ARGV[4] == '' then
  bury(KEYS[1], got, new)
elseif tonumber(ARGV[4]) < got.ends then
  redis.call('HSET', KEYS[1], 'e', ARGV[4])
  expire(KEYS[1], tonumber(ARGV[4]) - now)
  redis.call('ZADD', beside(KEYS[1], 'z', got.o), ARGV[4], name_of(KEYS[1]))
end
return told('new', made)
"""
)

# KEYS: key. ARGV: now, hash of the owner, a name for this attempt. One that has expired is buried,
# too: the clock of another machine may be behind.
END_API_KEY = (
    _PRIMARY
    + _API_KEY
    + """
local now = tonumber(ARGV[1])
local got, why = api_key(KEYS[1], now)
if not got or got.o ~= ARGV[2] then return {got and 'gone' or why} end
if got.x then return {got.x == ARGV[3] and 'alive' or 'revoked'} end
bury(KEYS[1], got, why and '-' or ARGV[3])
return {why or 'alive'}
"""
)

# KEYS: index of an owner by age. ARGV: now, where to go on.
LIST_API_KEYS = (
    _PRIMARY
    + _API_KEY
    + _WALK
    + """
local ages, now = KEYS[1], tonumber(ARGV[1])
if not is_index(ages) then return {'done', '', ''} end
local owner, ends = name_of(ages), beside(ages, 'z', name_of(ages))
local names, answer = next_names(ages, ARGV[2])
answer[4] = nil
local dead = {}
for i = 1, #names, 2 do
  local key, got, why = beside(ages, 'q', names[i])
  if is_name(names[i]) then got, why = api_key(key, now) end
  if got and not why and got.o == owner then
    answer[3] = names[i + 1] .. ' ' .. names[i]
    for _, part in ipairs({names[i], unpack(told('alive', got), 2)}) do
      answer[#answer + 1] = part
    end
  else
    dead[#dead + 1] = names[i]
    if got and got.o == owner and why == 'revoked' and not got.x then bury(key, got, '-') end
  end
end
delist(ages, ends, dead)
return answer
"""
)
