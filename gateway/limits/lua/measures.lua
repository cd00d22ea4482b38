-- Measures: what operators put in force for a while over what the configuration says. One hash for the whole site:
-- strict_since_ms and strict_why while the posture is strict; until:NAME, since:NAME and why:NAME for an establishment
-- under a plan blanc, which ends by itself.
local MEASURES = 'ecluse:measures'

-- What was read is remembered for a tenth of a second; whoever writes here has it forgotten. Only what is written past
-- these functions, by a restored backup, takes that long to hold.
local MEASURES_LOOK_US = 100000
local measures_known, measures_known_us = {}, 0

local function measures_forget()
  measures_known = {}
end

local function measures_read(establishment)
  if establishment == '' then
    return { since_ms = tonumber(redis.call('HGET', MEASURES, 'strict_since_ms')), until_ms = 0 }
  end
  local found = redis.call('HMGET', MEASURES, 'strict_since_ms', 'until:' .. establishment)
  return { since_ms = tonumber(found[1]), until_ms = tonumber(found[2]) or 0 }
end

-- Since when the posture is strict (nil: it is not), and what holds: 0 nothing, 1 strict, 2 plan blanc, 3 both.
local function measures_now(establishment, at_us)
  local age_us = at_us - measures_known_us
  if age_us < 0 or age_us >= MEASURES_LOOK_US then
    measures_known, measures_known_us = {}, at_us
  end
  local known = measures_known[establishment or '']
  if not known then
    known = measures_read(establishment or '')
    measures_known[establishment or ''] = known
  end
  return known.since_ms, (known.since_ms and 1 or 0) + (known.until_ms * 1000 > at_us and 2 or 0)
end

-- Which of the texts that are told for each state, joined by '/', holds in *state*; any of them may be empty.
local function measures_pick(told, state)
  local first = 1
  for _ = 1, state do
    local _, slash = string.find(told, '/', first, true)
    if not slash then break end
    first = slash + 1
  end
  return string.sub(told, first, (string.find(told, '/', first, true) or 0) - 1)
end

do
  local function measures_prune(at_ms)
    local found = redis.call('HGETALL', MEASURES)
    for i = 1, #found, 2 do
      local name = string.match(found[i], '^until:(.*)$')
      if name and (tonumber(found[i + 1]) or 0) <= at_ms then
        redis.call('HDEL', MEASURES, 'until:' .. name, 'since:' .. name, 'why:' .. name)
      end
    end
  end

  -- Returns {now ms, strict since ms or false, why, then {establishment, since ms, until ms, why} each}.
  local function measures_get(keys, args)
    local refusal = guard(keys, args)
    if refusal then return refusal end
    local at_ms = now_ms()
    local known = redis.call('HMGET', MEASURES, 'strict_since_ms', 'strict_why')
    local told = { whole(at_ms), known[1], known[2] or '' }
    local found = redis.call('HGETALL', MEASURES)
    for i = 1, #found, 2 do
      local name = string.match(found[i], '^until:(.*)$')
      if name and (tonumber(found[i + 1]) or 0) > at_ms then
        local more = redis.call('HMGET', MEASURES, 'since:' .. name, 'why:' .. name)
        told[#told + 1] = { name, more[1] or '0', found[i + 1], more[2] or '' }
      end
    end
    return told
  end

  -- args: why. Strict once more asks every session for a code once more.
  local function measures_strict(keys, args)
    local refusal = guard(keys, args)
    if refusal then return refusal end
    measures_forget()
    local at_ms = whole(now_ms())
    redis.call('HSET', MEASURES, 'strict_since_ms', at_ms, 'strict_why', args[2])
    return at_ms
  end

  -- Returns 1 when the posture was strict.
  local function measures_normal(keys, args)
    local refusal = guard(keys, args)
    if refusal then return refusal end
    measures_forget()
    return math.min(1, redis.call('HDEL', MEASURES, 'strict_since_ms', 'strict_why'))
  end

  -- args: establishment, why, for ms. A longer plan is not shortened. Returns until when.
  local function measures_plan_blanc(keys, args)
    local refusal = guard(keys, args)
    if refusal then return refusal end
    measures_forget()
    local at_ms, name = now_ms(), args[2]
    measures_prune(at_ms)
    local standing = tonumber(redis.call('HGET', MEASURES, 'until:' .. name)) or 0
    local until_ms = whole(math.max(standing, at_ms + tonumber(args[4])))
    redis.call('HSETNX', MEASURES, 'since:' .. name, whole(at_ms))
    redis.call('HSET', MEASURES, 'until:' .. name, until_ms, 'why:' .. name, args[3])
    return until_ms
  end

  -- args: establishment. Returns 1 when there was a plan.
  local function measures_end_plan_blanc(keys, args)
    local refusal = guard(keys, args)
    if refusal then return refusal end
    measures_forget()
    measures_prune(now_ms())
    return math.min(1, redis.call('HDEL', MEASURES, 'until:' .. args[2], 'since:' .. args[2], 'why:' .. args[2]))
  end

  redis.register_function('ecluse_measures_get', measures_get)
  redis.register_function('ecluse_measures_strict', measures_strict)
  redis.register_function('ecluse_measures_normal', measures_normal)
  redis.register_function('ecluse_measures_plan_blanc', measures_plan_blanc)
  redis.register_function('ecluse_measures_end_plan_blanc', measures_end_plan_blanc)
end
