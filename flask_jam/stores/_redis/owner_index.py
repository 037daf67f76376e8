"""What one owner has: indexes in Redis, and the steps that list, bound and clear it.

Parts of the scripts of :mod:`flask_jam.stores._redis.scripts`. A step looks at 100 names at most,
so that none blocks Redis for long, however many sessions or families an owner has.
"""

from __future__ import annotations

# An owner has two indexes of each kind, with the same names: one by age, one by the time when each
# ends if it is not used. What is no index is removed, in the background: it may be large.
INDEX = """
local STEP = 100
local function name_of(key)
  return string.match(key, ':%l:{..}:(.*)$')
end
local function is_index(key)
  if redis.call('TYPE', key).ok == 'zset' then return true end
  redis.call('UNLINK', key)
end
local function enlist(index, name, score, seconds)
  is_index(index)
  redis.call('ZADD', index, score, name)
  if redis.call('PTTL', index) < seconds * 1000 then keep(index, seconds) end
end
local function delist(ages, ends, names)
  if #names == 0 then return end
  redis.pcall('ZREM', ages, unpack(names))
  redis.pcall('ZREM', ends, unpack(names))
end
local function prune(ages, ends, now)
  local names = redis.call('ZRANGE', ends, '-inf', string.format('%.3f', now - 60), 'BYSCORE',
                           'LIMIT', 0, STEP)
  delist(ages, ends, names)
  return STEP - #names
end
-- Drops the oldest until only `most` live, but never the one that is new; returns their names.
local function drop_excess(ages, ends, new, most, now)
  local dropped, left = {}, prune(ages, ends, now)
  local over = redis.call('ZCOUNT', ends, '(' .. string.format('%.3f', now), '+inf') - most
  if most == 0 or over <= 0 or left == 0 then return dropped end
  for _, name in ipairs(redis.call('ZRANGE', ages, 0, left)) do
    if name ~= new and over > 0 and #dropped < left then
      if tonumber(redis.call('ZSCORE', ends, name) or now) > now then over = over - 1 end
      dropped[#dropped + 1] = name
    end
  end
  delist(ages, ends, dropped)
  return dropped
end
"""

# A walk goes by age, which no use changes: it meets all that live from its first step to its last.
# It says by score and name how far it has come. If that one is gone, it begins again at its score.
WALK = """
local function rank_after(index, after)
  local score, name = string.match(after, '^(%S+) (.*)$')
  if not score then return 0 end
  if redis.call('ZSCORE', index, name) == score then return redis.call('ZRANK', index, name) + 1 end
  return redis.call('ZCOUNT', index, '-inf', '(' .. score)
end
local function next_names(ages, after)
  local from = rank_after(ages, after)
  local names = redis.call('ZRANGE', ages, from, from + STEP - 1, 'WITHSCORES')
  return names, {'done', #names == 2 * STEP and 'more' or '', after, 0}
end
"""

WALK_SESSIONS = """
local function brief(key)
  local read = redis.pcall('HMGET', key, 's', 'i', 'e', 'b', 'u', 'k', 'o', 'j', 'r')
  local got = {s = read[1], i = read[2], e = read[3], b = read[4], u = read[5], k = read[6],
               o = read[7], j = read[8], r = read[9]}
  return is_whole(got) and #got.j <= 65536 and got or {}
end
local function walk(ages, now, after, most)
  if not is_index(ages) then return {'done', '', '', 0} end
  local owner = name_of(ages)
  local cut, cut_logins = mark(beside(ages, 'c', owner), now)
  local cleared = mark(beside(ages, 'k', owner), now)
  local names, answer = next_names(ages, after)
  local dead, keys = {}, {}
  for i = 1, #names, 2 do
    local name, key = names[i], beside(ages, 's', names[i])
    local got = brief(key)
    if got.s then tighten(got, most) end
    local lives = got.s and now < math.min(got.seen + got.idle, got.ends)
    lives = lives and not (cut and got.cut_off < cut)
    if got.o and got.o ~= owner then
      dead[#dead + 1] = name
    elseif lives and got.cut_off >= (cut_logins or 0) and got.cleared >= (cleared or 0) then
      answer[3] = names[i + 1] .. ' ' .. name
      for _, part in ipairs({name, got.s, got.j}) do answer[#answer + 1] = part end
    else
      if lives then answer[4] = answer[4] + 1 end
      dead[#dead + 1], keys[#keys + 1] = name, key
    end
  end
  if #keys > 0 then redis.call('UNLINK', unpack(keys)) end
  delist(ages, beside(ages, 'e', owner), dead)
  return answer
end
"""

# What it ends is marked, so that a client that presents it gets a refusal as revoked.
WALK_FAMILIES = """
local function walk_families(ages, now, after, most, mark_until, mark_kept)
  if not is_index(ages) then return {'done', '', '', 0} end
  local owner = name_of(ages)
  local names, answer = next_names(ages, after)
  local dead, keys, cuts = {}, {}, {}
  local revoked = '[1,' .. string.format('%.17g', now) .. ',' .. mark_until .. ']'
  for i = 1, #names, 2 do
    local name = names[i]
    local key, mark_key = beside(ages, 'f', name), beside(ages, 'x', name)
    local got, _, ended, was_alive = family(key, mark_key, now, most, cuts)
    if got and got[8] == owner then
      answer[3] = names[i + 1] .. ' ' .. name
      for _, part in ipairs({name, got.used, got[9]}) do answer[#answer + 1] = part end
    else
      dead[#dead + 1] = name
      if ended and ended[8] == owner then
        keys[#keys + 1] = key
        if was_alive then
          redis.call('SET', mark_key, revoked, 'PX', mark_kept)
          answer[4] = answer[4] + 1
        end
      end
    end
  end
  if #keys > 0 then redis.call('UNLINK', unpack(keys)) end
  delist(ages, beside(ages, 'm', owner), dead)
  return answer
end
"""
