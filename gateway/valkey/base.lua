-- Helpers for every room's functions. KEYS[1] is the marker `ecluse:store`, ARGV[1] the id it must hold.

-- In a Cluster, a key that is never there: see slot.py.
local CLUSTER_NOBODY = nil

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
  return redis.error_reply('STOREEMPTIED the marker is missing or is not ours')
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
