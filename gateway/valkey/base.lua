-- Helpers for every room's functions. KEYS[1] is the marker `ecluse:store`, ARGV[1] the id it must hold.

-- In a Cluster, a key that is never there: see slot.py.
local CLUSTER_NOBODY = nil

-- When guard_lately saw which id.
local guard_seen, guard_seen_us = nil, 0

-- nil when this is the store it should be, else the error reply to return at once.
local function guard(keys, args)
  if CLUSTER_NOBODY then
    local there = redis.pcall('EXISTS', CLUSTER_NOBODY)
    if type(there) == 'table' then
      return redis.error_reply('TRYAGAIN the slot is being moved')
    end
  end
  local id = redis.call('GET', keys[1])
  if id and id == args[1] then
    return nil
  end
  guard_seen = nil
  return redis.error_reply('STOREEMPTIED the marker is missing or is not ours')
end

-- As guard, for a call that has just looked for a session. An emptied store has none: where one is *live* the marker is
-- looked at ten times a second and not each time.
local GUARD_LOOK_US = 100000

local function guard_lately(keys, args, at_us, live)
  local age_us = at_us - guard_seen_us
  if live and guard_seen == args[1] and age_us >= 0 and age_us < GUARD_LOOK_US and not CLUSTER_NOBODY then
    return nil
  end
  local refused = guard(keys, args)
  if not refused then
    guard_seen, guard_seen_us = args[1], at_us
  end
  return refused
end

-- Microseconds since 1970 on the store's clock: below 2^53, so Lua's doubles hold them exactly.
local function now_us()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end

local function now_ms()
  return math.floor(now_us() / 1000)
end

-- A whole number as decimal digits. Lua's own tostring() rounds to 14 digits.
local function whole(number)
  return string.format('%d', number)
end

-- *read*, which makes a table of a text, or of what a text names and *more*, once for each text: at most *most* are
-- remembered, and nil never is.
local function remembering(most, read)
  local known, count = {}, 0
  return function(text, more)
    local value = known[text]
    if value then
      return value
    end
    value = read(text, more)
    if value then
      if count >= most then
        known, count = {}, 0
      end
      known[text], count = value, count + 1
    end
    return value
  end
end

-- KEYS: marker, ecluse:keycheck. ARGV: store id, fingerprint. Returns the fingerprint kept; the first one stays.
redis.register_function('ecluse_keycheck', function(keys, args)
  local refused = guard(keys, args)
  if refused then return refused end
  redis.call('SET', keys[2], args[2], 'NX')
  return redis.call('GET', keys[2])
end)

-- KEYS: marker, ecluse:fence. ARGV: store id. A write for WAIT to look at: whatever came before it on the primary is
-- where it is.
redis.register_function('ecluse_fence', function(keys, args)
  local refused = guard(keys, args)
  if refused then return refused end
  redis.call('SET', keys[2], '1')
  return 1
end)
