-- Limits: check everything, then commit everything or nothing. The oracles are gcra.py, windows.py and distinct.py.
-- All times are whole microseconds, except the scores of the two patient sets: see patients.lua.

-- Keys live longer than the longest window they serve, and are renewed when little more than that window is left: a
-- memory is never lost inside its window, and few calls pay for the renewal. Counters are looked at when one of their
-- sub-buckets begins, every two hours at least while they are counted on, and where requests are counted every hour.
local LIMITS_PATIENTS_TTL_S = 691200
local LIMITS_COUNTERS_TTL_S = 104400
local LIMITS_COUNTERS_LONGEST_MS = 97200000
local LIMITS_REQUESTS_LOOK_US = 3600000000
local LIMITS_LONGEST_MS = 604800000
local LIMITS_REQUESTS_US = 10000000
local LIMITS_REQUESTS = 'requests_us'
local LIMITS_BUCKETS = 12
-- Rows, bytes, exports, probes (o) and sightings: their windows, and sub-buckets.
local LIMITS_WINDOW_US = { r = 3600000000, b = 3600000000, e = 86400000000, o = 3600000000, s = 3600000000 }
local LIMITS_LETTERS = { 'r', 'b', 'e', 'o', 's' }
local LIMITS_BUCKET_US = {}
for i = 1, #LIMITS_LETTERS do
  LIMITS_BUCKET_US[LIMITS_LETTERS[i]] = LIMITS_WINDOW_US[LIMITS_LETTERS[i]] / LIMITS_BUCKETS
end

-- What is told of a charge that was committed, and brought nothing near its bound.
local LIMITS_NOTHING = '1||||'

local limits_names = {}

-- '200|g,30,60,e|p600,20,40,e|r,600,2000,o': the weight of a listed patient in thousandths, then each limit as kind,
-- window in seconds (patients only), soft bound, hard bound, mode (e enforces both, s the soft one, o observes).
-- *requests* is where the limit of requests stands, and *shortest_ms* the shortest window of patients; nil without.
local limits_parse = remembering(256, function(text)
  local limits = { listed_weight = tonumber(string.match(text, '^(%d+)')) }
  for kind, window_s, soft, hard, mode in string.gmatch(text, '|(%a)(%d*),(%d+),(%d+),(%a)') do
    limits[#limits + 1] = {
      kind = kind, soft = tonumber(soft), hard = tonumber(hard), enforced = mode == 'e', observed = mode == 'o',
      window_ms = (tonumber(window_s) or 0) * 1000,
    }
    if kind == 'g' then
      limits.requests = #limits
    elseif kind == 'p' then
      limits.shortest_ms = math.min(limits.shortest_ms or math.huge, limits[#limits].window_ms)
    end
  end
  return limits
end)

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

-- What *key* holds of each kind that *costs* anything: the field of its newest sub-bucket, what that holds (nil: nothing
-- yet), and *most*, no less than what all that count hold together. nil when nothing costs anything.
local function limits_counted(now_us, key, costs)
  local fields, counted
  for i = 1, #LIMITS_LETTERS do
    local letter = LIMITS_LETTERS[i]
    local cost = costs[letter] or 0
    if cost > 0 then
      local newest = math.floor(now_us / LIMITS_BUCKET_US[letter])
      fields, counted = fields or {}, counted or {}
      counted[letter] = { cost = cost, newest = newest, field = limits_fields(letter, newest)[LIMITS_BUCKETS + 1] }
      fields[#fields + 1] = counted[letter].field
      fields[#fields + 1] = letter
    end
  end
  if not counted then
    return nil
  end
  local stored, at = redis.call('HMGET', key, unpack(fields)), 1
  for i = 1, #LIMITS_LETTERS do
    local one = counted[LIMITS_LETTERS[i]]
    if one then
      one.held, one.most, at = tonumber(stored[at] or nil), tonumber(stored[at + 1] or nil), at + 2
    end
  end
  return counted
end

-- What the sub-buckets of *kind* that count hold, oldest first, and together.
local function limits_sum(key, kind, newest)
  local stored, sum = redis.call('HMGET', key, unpack(limits_fields(kind, newest))), 0
  for i = 1, #stored do
    stored[i] = tonumber(stored[i] or nil) or 0
    sum = sum + stored[i]
  end
  return stored, sum
end

-- As limits_patients, for a kind that is counted in sub-buckets.
local function limits_counter(now_us, key, one, limit)
  local most = one.most and one.most + one.cost
  if most and most * 10 < limit.hard * 8 and most <= limit.soft then
    return false
  end
  local stored, sum = limits_sum(key, limit.kind, one.newest)
  local used = { before = sum, after = sum + one.cost, hard = limit.hard, soft = limit.soft }
  if used.after > used.hard then
    used.retry_us = LIMITS_WINDOW_US[limit.kind]
    local left = used.after
    for i = 1, #stored do
      left = left - stored[i]
      if left <= used.hard then
        used.retry_us = (one.newest + i) * LIMITS_BUCKET_US[limit.kind] - now_us
        break
      end
    end
  end
  return used
end

-- Takes away what no longer counts, and sums up anew what is left of each kind. Buckets that are yet to come, of a clock
-- that stepped back, are left, and in the sum: they will count.
local function limits_sweep(now_us, key)
  local stale, sums, found = {}, {}, redis.call('HGETALL', key)
  for i = 1, #found, 2 do
    local letter, bucket = string.match(found[i], '^(%a):(%d+)$')
    if letter then
      if tonumber(bucket) < math.floor(now_us / LIMITS_BUCKET_US[letter]) - LIMITS_BUCKETS then
        stale[#stale + 1] = found[i]
      else
        sums[letter] = (sums[letter] or 0) + tonumber(found[i + 1])
      end
    end
  end
  for letter, sum in pairs(sums) do
    redis.call('HSET', key, letter, whole(sum))
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

local function limits_count(now_us, key, counted)
  local fresh, writes = false, {}
  for letter, one in pairs(counted) do
    fresh = fresh or not one.held or not one.most
    local n = #writes
    writes[n + 1], writes[n + 2] = one.field, whole((one.held or 0) + one.cost)
    writes[n + 3], writes[n + 4] = letter, whole((one.most or 0) + one.cost)
  end
  redis.call('HSET', key, unpack(writes))
  if fresh then
    limits_sweep(now_us, key)
    limits_renew(key)
  end
end

-- What each limit has used and would have used, in its own unit; false where the charge does not touch it, or leaves it far
-- below whatever is told; nil when that is all of them. Then what is known of the patients, nil where nobody asked.
local function limits_measure(now_us, keys, limits, opened, all, counted)
  local now_ms, seen, patients = math.floor(now_us / 1000), nil, false
  if limits.shortest_ms and #all > 0 then
    seen = limits_seen(keys, opened, all)
    patients = not limits_all_after(seen, now_ms - limits.shortest_ms)
  end
  if not patients and not counted then
    return nil, seen
  end
  local measured
  for i = 1, #limits do
    local limit, used = limits[i], false
    if limit.kind == 'p' then
      used = patients and limits_patients(now_ms, limit, limits.listed_weight, seen)
    elseif counted and counted[limit.kind] then
      used = limits_counter(now_us, keys.counters, counted[limit.kind], limit)
    end
    if used then
      measured = measured or {}
      measured[i] = used
    end
  end
  return measured, seen
end

-- What quarantine makes of *limits*: a share of every bound but that of requests, in thousandths.
local function limits_scaled(limits, share_milli)
  local small = { listed_weight = limits.listed_weight, requests = limits.requests, shortest_ms = limits.shortest_ms }
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
  local wide = { listed_weight = limits.listed_weight, requests = limits.requests, shortest_ms = limits.shortest_ms }
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

-- What *limits*, whose positions begin after *base*, say of a charge; *told* gathers it, and what is known of the patients
-- is returned. One of a pool that observes tells that it is over once, on the way up: everybody who shares the pool would
-- tell it again.
local function limits_judge(now_us, keys, limits, opened, listed, all, counted, stepped, told, base)
  local measured, seen = limits_measure(now_us, keys, limits, opened, all, counted)
  for at = 1, measured and #limits or 0 do
    local limit, used, i = limits[at], measured[at], (base or 0) + at
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
        elseif not stepped then
          told.asked = told.asked or i
        end
      end
      if used.before * 10 < used.hard * 8 and used.after * 10 >= used.hard * 8 then
        told.near[#told.near + 1] = i
      end
    end
  end
  return seen
end

local function limits_all(opened, listed)
  if #opened == 0 then
    return listed
  elseif #listed == 0 then
    return opened
  end
  local all, n = {}, #opened
  for i = 1, n do
    all[i] = opened[i]
  end
  for i = 1, #listed do
    all[n + i] = listed[i]
  end
  return all
end

local function limits_told(how, which, number, would, would_ask)
  return how .. '|' .. which .. '|' .. number .. '|' .. table.concat(would, ',') .. '|' .. table.concat(would_ask, ',')
end

-- '1|near|asks|would|would_ask' when committed, '0|which|retry_us|would|would_ask' when a hard bound stands in
-- the way, '2|which|0|would|would_ask' when a soft one does and no fresh code was given; then nothing is committed.
-- Several are separated by commas. A table in its place costs the store as much as two of its reads.
-- Limits are named by their position; those of *pools* follow the account's, pool after pool. asks is empty here: only
-- requests, which limits_request counts, pass their soft bound.
-- *costs* by kind: r b e o s. *opened* and *listed* are distinct and disjoint. *stepped*: nobody need be asked.
-- *extra*: patients more, by a break-glass, for this account under its own bounds and the pools'.
-- *pools*: as pools_parse tells them. *shared*: the keys of each, by its position; of those without the account is no part.
local function limits_spend(now_us, keys, limits, costs, opened, listed, stepped, extra, pools, shared)
  local widens = extra and extra > 0
  if widens then
    limits = limits_widened(limits, extra)
  end
  local all, counted = limits_all(opened, listed), limits_counted(now_us, keys.counters, costs)
  local told = { near = {}, would = {}, would_ask = {}, retry_us = 0 }
  local seen = limits_judge(now_us, keys, limits, opened, listed, all, counted, stepped, told)
  local base, seen_by, several = #limits, {}, #all > 0 and pools and #pools or 0
  for i = 1, several do
    local bounds = pools[i].limits
    if shared[i] then
      local held = widens and limits_widened(bounds, extra) or bounds
      seen_by[i] = limits_judge(now_us, shared[i], held, opened, listed, all, nil, stepped, told, base)
    end
    base = base + #bounds
  end
  if told.denied then
    return limits_told('0', told.denied, whole(told.retry_us), told.would, told.would_ask)
  end
  if told.asked then
    return limits_told('2', told.asked, '0', told.would, told.would_ask)
  end
  if counted then
    limits_count(now_us, keys.counters, counted)
  end
  local now_ms = math.floor(now_us / 1000)
  limits_remember(now_ms, keys, opened, listed, LIMITS_LONGEST_MS, LIMITS_PATIENTS_TTL_S, seen)
  for i = 1, several do
    if shared[i] then
      limits_remember(now_ms, shared[i], opened, listed, pools[i].keep_ms, pools[i].ttl_s, seen_by[i])
    end
  end
  if #told.near + #told.would + #told.would_ask == 0 then
    return LIMITS_NOTHING
  end
  return limits_told('1', table.concat(told.near, ','), '', told.would, told.would_ask)
end

-- Charges *count* requests at once, in the words of limits_spend. *stored*: until when (in us) those before them use the
-- limit up, as *key* holds it in the field LIMITS_REQUESTS. *renews*: *key* lives no longer than it is counted on. nil, and
-- nothing charged, when there is something to tell of one of several: each is then to be charged by itself.
local function limits_request(now_us, key, stored, limits, stepped, renews, count)
  local i = limits.requests
  if not i then
    return LIMITS_NOTHING
  end
  local limit = limits[i]
  if limit.hard == 0 then
    if count > 1 then return nil end
    return limit.enforced and '0|' .. i .. '|' .. whole(LIMITS_REQUESTS_US) .. '||' or '1|||' .. i .. '|'
  end
  local interval = math.ceil(LIMITS_REQUESTS_US / limit.hard)
  local hard, soft, until_us = interval * limit.hard, interval * limit.soft, tonumber(stored) or 0
  local ahead = until_us - now_us
  local before = math.min(math.max(0, ahead), hard)
  local after = before + interval * count
  local crossed, past_soft = after > hard, after > soft and soft < hard
  local near = before * 10 < hard * 8 and after * 10 >= hard * 8
  local asks = past_soft and not limit.observed and not stepped
  local would_ask = past_soft and limit.observed and not crossed and before <= soft
  if count > 1 and (near or asks or crossed or would_ask) then
    return nil
  end
  if crossed and ahead > hard then
    -- No charge but a repair: the clock stepped back, and from here on the backlog drains as time goes by.
    redis.call('HSET', key, LIMITS_REQUESTS, whole(now_us + hard))
  end
  if crossed and limit.enforced then
    return '0|' .. i .. '|' .. whole(after - hard) .. '||'
  end
  -- An observed limit that is crossed keeps its level, or a flood would close it for long once it is enforced.
  if not crossed then
    redis.call('HSET', key, LIMITS_REQUESTS, whole(now_us + after))
    if renews and math.floor((now_us + after) / LIMITS_REQUESTS_LOOK_US) ~= math.floor(until_us / LIMITS_REQUESTS_LOOK_US) then
      limits_renew(key)
    end
  end
  if not (near or asks or crossed or would_ask) then
    return LIMITS_NOTHING
  end
  return '1|' .. (near and i or '') .. '|' .. (asks and i or '') .. '|' .. (crossed and i or '') .. '|'
    .. (would_ask and i or '')
end

-- How many requests of *limit* are used up.
local function limits_requests_used(now_us, stored, limit)
  if limit.hard == 0 then
    return 0
  end
  local interval = math.ceil(LIMITS_REQUESTS_US / limit.hard)
  return math.min(limit.hard, math.max(0, math.ceil(((tonumber(stored) or 0) - now_us) / interval)))
end
