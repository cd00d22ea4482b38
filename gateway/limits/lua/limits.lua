-- Limits: check everything, then commit everything or nothing. The oracles are gcra.py, windows.py and distinct.py.
-- All times are whole microseconds, except the scores of the two patient sets: see patients.lua.

-- Keys live longer than the longest window they serve, and are renewed when little more than that window is left: a
-- memory is never lost inside its window, and few calls pay for the renewal. Counters are looked at when one of their
-- sub-buckets begins, every two hours at least while they are counted on, and that of requests every hour.
local LIMITS_PATIENTS_TTL_S = 691200
local LIMITS_COUNTERS_TTL_S = 104400
local LIMITS_COUNTERS_LONGEST_MS = 97200000
local LIMITS_REQUESTS_LOOK_US = 3600000000
local LIMITS_LONGEST_MS = 604800000
local LIMITS_REQUESTS_US = 10000000
local LIMITS_BUCKETS = 12
-- Rows, bytes, exports, probes (o) and sightings: their windows.
local LIMITS_WINDOW_US = { r = 3600000000, b = 3600000000, e = 86400000000, o = 3600000000, s = 3600000000 }
local LIMITS_LETTERS = { 'r', 'b', 'e', 'o', 's' }

-- What is told of a charge that was committed, and brought nothing near its bound.
local LIMITS_NOTHING = '1||||'

local limits_known, limits_known_count = {}, 0
local limits_names = {}

-- '200|g,30,60,e|p600,20,40,e|r,600,2000,o': the weight of a listed patient in thousandths, then each limit as kind,
-- window in seconds (patients only), soft bound, hard bound, mode (e enforces both, s the soft one, o observes).
-- *requests* is where the limit of requests stands, nil when there is none.
local function limits_parse(text)
  local limits = limits_known[text]
  if limits then
    return limits
  end
  limits = { listed_weight = tonumber(string.match(text, '^(%d+)')) }
  for kind, window_s, soft, hard, mode in string.gmatch(text, '|(%a)(%d*),(%d+),(%d+),(%a)') do
    limits[#limits + 1] = {
      kind = kind, soft = tonumber(soft), hard = tonumber(hard), enforced = mode == 'e', observed = mode == 'o',
      window_ms = (tonumber(window_s) or 0) * 1000,
    }
    if kind == 'g' then
      limits.requests = #limits
    end
  end
  if limits_known_count >= 256 then
    limits_known, limits_known_count = {}, 0
  end
  limits_known[text] = limits
  limits_known_count = limits_known_count + 1
  return limits
end

-- The fields of the sub-buckets that count now, oldest first.
local function limits_fields(letter, newest)
  local known = limits_names[letter]
  if not known or known.newest ~= newest then
    known = { newest = newest }
    for i = 0, LIMITS_BUCKETS do
      known[i + 1] = letter .. ':' .. whole(newest - LIMITS_BUCKETS + i)
    end
    limits_names[letter] = known
  end
  return known
end

-- Before and after one more request, bound, soft bound (all in us), when it would be used up, which hour its lifetime
-- was looked at, and, where what is stored lies further ahead than the clock allows, what to store instead.
local function limits_ahead(now_us, stored, limit)
  local interval = math.ceil(LIMITS_REQUESTS_US / limit.hard)
  local tolerance, arrival_us = interval * limit.hard, tonumber(stored) or 0
  local before = math.max(0, arrival_us - now_us)
  local full_us = before > tolerance and now_us + tolerance or nil
  before = math.min(before, tolerance)
  local after = before + interval
  return before, after, tolerance, interval * limit.soft, now_us + after,
    math.floor(arrival_us / LIMITS_REQUESTS_LOOK_US), full_us
end

local function limits_gcra(now_us, stored, limit)
  if limit.hard == 0 then
    return { before = 0, after = 1, hard = 0, soft = 0, retry_us = LIMITS_REQUESTS_US }
  end
  local before, after, hard, soft, arrival_us, looked, full_us = limits_ahead(now_us, stored, limit)
  return {
    before = before, after = after, hard = hard, soft = soft, retry_us = after - hard, arrival_us = arrival_us,
    looked = looked, full_us = full_us,
  }
end

local function limits_counter(now_us, stored, first, cost, limit)
  local size = LIMITS_WINDOW_US[limit.kind] / LIMITS_BUCKETS
  local newest, sum = math.floor(now_us / size), 0
  for i = first, first + LIMITS_BUCKETS do
    sum = sum + (tonumber(stored[i]) or 0)
  end
  local used = { before = sum, after = sum + cost, hard = limit.hard, soft = limit.soft }
  if used.after > used.hard then
    used.retry_us = LIMITS_WINDOW_US[limit.kind]
    local left = used.after
    for i = 0, LIMITS_BUCKETS do
      left = left - (tonumber(stored[first + i]) or 0)
      if left <= used.hard then
        used.retry_us = (newest + 1 + i) * size - now_us
        break
      end
    end
  end
  return used
end

local function limits_sweep(now_us, key)
  local stale = {}
  for _, field in ipairs(redis.call('HKEYS', key)) do
    local letter, bucket = string.match(field, '^(%a):(%d+)$')
    if letter then
      local size = LIMITS_WINDOW_US[letter] / LIMITS_BUCKETS
      if tonumber(bucket) < math.floor(now_us / size) - LIMITS_BUCKETS then
        stale[#stale + 1] = field
      end
    end
  end
  if #stale > 0 then
    redis.call('HDEL', key, unpack(stale))
  end
end

local function limits_renew(key)
  if redis.call('PTTL', key) < LIMITS_COUNTERS_LONGEST_MS then
    redis.call('EXPIRE', key, LIMITS_COUNTERS_TTL_S)
  end
end

local function limits_commit(now_us, keys, costs, opened, listed, told)
  local fresh = false
  if told.arrival_us then
    redis.call('HSET', keys.counters, 'g', whole(told.arrival_us))
    fresh = math.floor(told.arrival_us / LIMITS_REQUESTS_LOOK_US) ~= told.looked
  end
  for _, letter in ipairs(LIMITS_LETTERS) do
    local cost = costs[letter] or 0
    if cost > 0 then
      local bucket = math.floor(now_us / (LIMITS_WINDOW_US[letter] / LIMITS_BUCKETS))
      fresh = redis.call('HINCRBY', keys.counters, letter .. ':' .. whole(bucket), whole(cost)) == cost or fresh
    end
  end
  if fresh then
    limits_sweep(now_us, keys.counters)
    limits_renew(keys.counters)
  end
  limits_remember(math.floor(now_us / 1000), keys, opened, listed, LIMITS_LONGEST_MS, LIMITS_PATIENTS_TTL_S, told.scores)
end

-- What each limit has used and would have used, in its own unit; false where the charge does not touch it. Then what was
-- found of the patients, nil where nobody asked.
local function limits_measure(now_us, keys, limits, costs, opened, listed)
  local fields, starts, patients_limited = {}, {}, false
  for i, limit in ipairs(limits) do
    starts[i] = #fields + 1
    if limit.kind == 'p' then
      patients_limited = true
    elseif (costs[limit.kind] or 0) > 0 then
      if limit.kind == 'g' then
        fields[#fields + 1] = 'g'
      else
        local newest = math.floor(now_us / (LIMITS_WINDOW_US[limit.kind] / LIMITS_BUCKETS))
        for _, field in ipairs(limits_fields(limit.kind, newest)) do
          fields[#fields + 1] = field
        end
      end
    end
  end
  local stored = #fields > 0 and redis.call('HMGET', keys.counters, unpack(fields)) or {}
  local touched = patients_limited and #opened + #listed > 0
  local scores
  if touched then
    -- When each was last opened is asked for only where a bound is near enough for it to matter.
    scores = { asked = opened, patients = limits_scores(keys.patients, opened) }
    for _, score in ipairs(limits_scores(keys.patients, listed)) do
      scores.patients[#scores.patients + 1] = score
    end
  end
  local measured = {}
  for i, limit in ipairs(limits) do
    local cost = costs[limit.kind] or 0
    measured[i] = false
    if limit.kind == 'p' then
      measured[i] = touched and limits_patients(math.floor(now_us / 1000), keys, limit, limits.listed_weight, scores)
    elseif cost > 0 and limit.kind == 'g' then
      measured[i] = limits_gcra(now_us, stored[starts[i]], limit)
    elseif cost > 0 then
      measured[i] = limits_counter(now_us, stored, starts[i], cost, limit)
    end
  end
  return measured, scores
end

-- What quarantine makes of *limits*: a share of every bound but that of requests, in thousandths.
local function limits_scaled(limits, share_milli)
  local small = { listed_weight = limits.listed_weight }
  for i, limit in ipairs(limits) do
    small[i] = limit
    if limit.kind ~= 'g' then
      local hard = math.max(1, math.floor(limit.hard * share_milli / 1000))
      small[i] = {
        kind = limit.kind, soft = limit.soft < limit.hard and math.floor(limit.soft * share_milli / 1000) or hard,
        hard = hard, enforced = limit.enforced, observed = limit.observed, window_ms = limit.window_ms,
      }
    end
  end
  return small
end

-- What a break-glass makes of *limits*: *extra* patients more under each hard bound on patients.
local function limits_widened(limits, extra)
  local wide = { listed_weight = limits.listed_weight }
  for i, limit in ipairs(limits) do
    wide[i] = limit
    if limit.kind == 'p' then
      local hard = limit.hard + extra
      wide[i] = {
        kind = 'p', soft = limit.soft < limit.hard and limit.soft or hard, hard = hard, enforced = limit.enforced,
        observed = limit.observed, window_ms = limit.window_ms,
      }
    end
  end
  return wide
end

-- What *limits*, whose positions begin after *base*, say of a charge; *told* gathers it, and what was found of the
-- patients is returned. One of a pool that observes
-- tells that it is over once, on the way up: everybody who shares the pool would tell it again.
local function limits_judge(now_us, keys, limits, costs, opened, listed, stepped, told, base)
  local measured, scores = limits_measure(now_us, keys, limits, costs, opened, listed)
  for at, limit in ipairs(limits) do
    local used, i = measured[at], (base or 0) + at
    if used and used.after > used.before then
      local crossed = used.after > used.hard
      if crossed and limit.enforced then
        local wait_us = used.retry_us
          or limits_patients_retry(math.floor(now_us / 1000), keys, limits, limit, opened, listed)
        if not told.denied or wait_us > told.retry_us then
          told.denied, told.retry_us = i, wait_us
        end
      elseif crossed and (not base or used.before <= used.hard) then
        told.would[#told.would + 1] = i
      end
      if used.after > used.soft and used.soft < used.hard then
        if limit.observed then
          if not crossed and used.before <= used.soft then
            told.would_ask[#told.would_ask + 1] = i
          end
        elseif not stepped and limit.kind == 'g' then
          told.asks[#told.asks + 1] = i
        elseif not stepped then
          told.asked = told.asked or i
        end
      end
      if used.before * 10 < used.hard * 8 and used.after * 10 >= used.hard * 8 then
        told.near[#told.near + 1] = i
      end
      -- An observed limit that is crossed keeps its level, or a flood would close it for long once it is enforced.
      if limit.kind == 'g' and not crossed then
        told.arrival_us, told.looked = used.arrival_us, used.looked
      elseif used.full_us then
        -- No charge but a repair: the clock stepped back, and from here on the backlog drains as time goes by.
        redis.call('HSET', keys.counters, 'g', whole(used.full_us))
      end
    end
  end
  return scores
end

local function limits_told(how, which, number, would, would_ask)
  return how .. '|' .. which .. '|' .. number .. '|' .. table.concat(would, ',') .. '|' .. table.concat(would_ask, ',')
end

-- '1|near|asks|would|would_ask' when committed, '0|which|retry_us|would|would_ask' when a hard bound stands in
-- the way, '2|which|0|would|would_ask' when a soft one does and no fresh code was given; then nothing is committed.
-- Several are separated by commas. A table in its place costs the store as much as two of its reads.
-- Requests are counted past their soft bound and told in asks. Limits are named by their position; those of *pools*
-- follow the account's, pool after pool.
-- *costs* by kind: g r b e o s. *opened* and *listed* are distinct and disjoint. *stepped*: nobody need be asked.
-- *extra*: patients more, by a break-glass, for this account under its own bounds and the pools'.
-- *pools*: {keys, limits, keep_ms, ttl_s}; without keys the pool is passed over.
local function limits_spend(now_us, keys, limits, costs, opened, listed, stepped, extra, pools)
  local widens = extra and extra > 0
  if widens then
    limits = limits_widened(limits, extra)
  end
  local told = { near = {}, would = {}, asks = {}, would_ask = {}, retry_us = 0 }
  told.scores = limits_judge(now_us, keys, limits, costs, opened, listed, stepped, told)
  local base, shared = #limits, #opened + #listed > 0 and pools or {}
  for _, pool in ipairs(shared) do
    if pool.keys then
      local bounds = widens and limits_widened(pool.limits, extra) or pool.limits
      pool.scores = limits_judge(now_us, pool.keys, bounds, {}, opened, listed, stepped, told, base)
    end
    base = base + #pool.limits
  end
  if told.denied then
    return limits_told('0', told.denied, whole(told.retry_us), told.would, told.would_ask)
  end
  if told.asked then
    return limits_told('2', told.asked, '0', told.would, told.would_ask)
  end
  limits_commit(now_us, keys, costs, opened, listed, told)
  for _, pool in ipairs(shared) do
    if pool.keys then
      limits_remember(
        math.floor(now_us / 1000), pool.keys, opened, listed, pool.keep_ms, pool.ttl_s, pool.scores)
    end
  end
  return limits_told('1', table.concat(told.near, ','), table.concat(told.asks, ','), told.would, told.would_ask)
end

-- What limits_spend says of { g = 1 }: one request and nothing else, which most questions are.
local function limits_request(now_us, key, limits, stepped)
  local i = limits.requests
  if not i then
    return LIMITS_NOTHING
  end
  local limit, stored = limits[i], redis.call('HGET', key, 'g')
  if limit.hard == 0 then
    return limit.enforced and '0|' .. i .. '|' .. whole(LIMITS_REQUESTS_US) .. '||' or '1|||' .. i .. '|'
  end
  local before, after, hard, soft, arrival_us, looked, full_us = limits_ahead(now_us, stored, limit)
  local crossed, past_soft = after > hard, after > soft and soft < hard
  if crossed and full_us then
    -- No charge but a repair, as in limits_judge.
    redis.call('HSET', key, 'g', whole(full_us))
  end
  if crossed and limit.enforced then
    return '0|' .. i .. '|' .. whole(after - hard) .. '||'
  end
  if not crossed then
    redis.call('HSET', key, 'g', whole(arrival_us))
    if math.floor(arrival_us / LIMITS_REQUESTS_LOOK_US) ~= looked then
      limits_renew(key)
    end
  end
  local near = before * 10 < hard * 8 and after * 10 >= hard * 8
  local asks = past_soft and not limit.observed and not stepped
  local would_ask = past_soft and limit.observed and not crossed and before <= soft
  if not (near or asks or crossed or would_ask) then
    return LIMITS_NOTHING
  end
  return '1|' .. (near and i or '') .. '|' .. (asks and i or '') .. '|' .. (crossed and i or '') .. '|'
    .. (would_ask and i or '')
end
