-- The two trips of an exchange: `ecluse_enter` before the request goes upstream, `ecluse_reveal` before the
-- application's answer leaves.

local LOOKUPS_JAR_MOST = 64
local LOOKUPS_REFRESH_MS = 1000
local LOOKUPS_QUARANTINE_MILLI = 500
local LOOKUPS_ID_CHARS = 32
local LOOKUPS_YES = 49 -- the byte '1'

local function lookups_standing(state)
  return state or 'absent'
end

-- Whether soft bounds ask nothing: a fresh code was given, or there is nobody to give one.
local function lookups_unasked(has_session, secret, fresh)
  return fresh or not has_session or not secret
end

-- Whether a code was given less than *step_up_ms* ago, and not before the posture became strict.
local function lookups_fresh(stepped_ms, at_ms, step_up_ms, strict_ms)
  local given_ms = tonumber(stepped_ms)
  return given_ms and at_ms - given_ms < tonumber(step_up_ms) and given_ms >= (strict_ms or 0)
end

-- The terms of a question, read once for each text: has session (1/0), spend a request (1/0), idle_ms and absolute_ms
-- (each usual/strict), pending_ms, step_up_ms and limits, separated by blanks; then the class and the establishment that
-- are believed, a line each.
local lookups_terms = remembering(4096, function(text)
  local session, spends, idle, idle_strict, life, life_strict, pending, step_up, limits, class, establishment =
    string.match(text, '^(%d) (%d) (%d+)/(%d+) (%d+)/(%d+) (%d+) (%d+) (%S+)\n(.*)\n(.*)$')
  return {
    has_session = session == '1', spends = spends == '1', pending_ms = tonumber(pending), step_up_ms = tonumber(step_up),
    idle_ms = { [false] = tonumber(idle), [true] = tonumber(idle_strict) },
    life_ms = { [false] = tonumber(life), [true] = tonumber(life_strict) },
    limits = limits_parse(limits), class = class, establishment = establishment,
  }
end)

-- The bounds that *id* names; nil where that is not known, and *told* is empty. Else *told* is two lines, limits and pools,
-- each usual/strict/plan blanc/both. What holds in a state stands under its number.
local lookups_bounds = remembering(1024, function(_, told)
  local limits, pools = string.match(told, '^(.*)\n(.*)$')
  if not limits then
    return nil
  end
  local bounds = {}
  for state = 0, 3 do
    bounds[state] = {
      limits = limits_parse(measures_pick(limits, state)), pools = pools_parse(measures_pick(pools, state)),
    }
  end
  return bounds
end)

local function lookups_closed(standing)
  return standing == 'locked' or standing == 'retired'
end

-- KEYS: marker, account, session, counters.
-- ARGV: store id, how many ask this at once, terms, app, then the jar's fields for the credentials shown.
-- Returns lines. 'class-is', class, establishment: nothing was done, as a request is to be spent under others. 'alone':
-- nothing was spent, as there is something to tell of one of several who ask. Else
-- standing, stage, expired (1/0), known bits, class, establishment, address, enrolled (1/0), spend, owes, fresh (1/0),
-- device, login: what there is none of is an empty line. owes is the word for a fresh code that this session has not given
-- since it was asked of the account, or of everybody by the strict posture; fresh tells whether one was given less than
-- step_up_ms ago, and since then; device is the one it was opened with.
redis.register_function('ecluse_enter', function(keys, args)
  local terms = lookups_terms(args[3])
  local account = redis.call('HMGET', keys[2], 'state', 'class', 'establishment', 'login', 'epoch', 'secret',
    'owes_until_ms', LIMITS_REQUESTS)
  local at_us = now_us()
  local standing, at_ms = lookups_standing(account[1]), math.floor(at_us / 1000)
  local strict_ms = measures_now(account[3], at_us)
  local has_session, closed = terms.has_session, lookups_closed(standing)
  local stage, expired, address, known, owes, fresh, device = nil, false, '', '', nil, false, ''
  local seen_ms, fields, first_known = 0, { 'facts', 'created_ms', 'seen_ms', 'stepped_ms' }, 5

  if has_session and not closed then
    for i = 5, #args do
      fields[#fields + 1] = args[i]
    end
    local session = redis.call('HMGET', keys[3], unpack(fields))
    local facts, created_ms = sessions_facts(keys[3], session[1]), tonumber(session[2] or nil)
    if facts and created_ms and facts.app == args[4] and facts.epoch == (account[5] or '0') then
      local strict, stepped_ms = strict_ms ~= nil, tonumber(session[4] or nil) or 0
      local life_ms = terms.life_ms[strict]
      if facts.stage ~= 'full' then
        life_ms = math.min(life_ms, terms.pending_ms)
      end
      seen_ms = tonumber(session[3] or nil) or created_ms
      if at_ms - created_ms < life_ms and at_ms - seen_ms < terms.idle_ms[strict] then
        stage, address, device = facts.stage, facts.address, facts.device
        for i = first_known, #fields do
          known = known .. (session[i] and '1' or '0')
        end
        if (tonumber(account[7] or nil) or 0) > at_ms then
          local owed = redis.call('HMGET', keys[2], 'owes_since_ms', 'owes_why')
          if stepped_ms < (tonumber(owed[1] or nil) or 0) then
            owes = owed[2]
          end
        end
        if strict and account[6] and math.max(created_ms, stepped_ms) < strict_ms then
          owes = owes or 'posture'
        end
        fresh = lookups_fresh(session[4], at_ms, terms.step_up_ms, strict_ms)
      else
        expired = true
      end
    end
  end

  local refused = guard_lately(keys, args, at_us, stage)
  if refused then return refused end
  if expired and strict_ms then
    -- What was too old under the strict posture does not come back with the normal one.
    redis.call('DEL', keys[3])
  end
  local class, establishment = account[2] or '', account[3] or ''
  local spends = terms.spends and not closed and (stage == 'full' or not has_session)
  if spends and (class ~= terms.class or establishment ~= terms.establishment) then
    return 'class-is\n' .. class .. '\n' .. establishment
  end
  if stage and at_ms - seen_ms >= LOOKUPS_REFRESH_MS then
    local writes = { 'seen_ms', whole(at_ms) }
    for i = first_known, #fields do
      if string.byte(known, i - first_known + 1) == LOOKUPS_YES then
        writes[#writes + 1] = fields[i]
        writes[#writes + 1] = whole(at_ms)
      end
    end
    redis.call('HSET', keys[3], unpack(writes))
  end
  local spend = ''
  if spends then
    -- No measure touches the limit of requests.
    local unasked, count = lookups_unasked(has_session, account[6], fresh), tonumber(args[2])
    if account[1] then
      spend = limits_request(at_us, keys[2], account[8], terms.limits, unasked, false, count)
    else
      -- An account that is not known has no hash that lasts.
      local stored = redis.call('HGET', keys[4], LIMITS_REQUESTS)
      spend = limits_request(at_us, keys[4], stored, terms.limits, unasked, true, count)
    end
    if not spend then
      return 'alone'
    end
  end
  return standing .. '\n' .. (stage or '') .. '\n' .. (expired and '1' or '0') .. '\n' .. known .. '\n' .. class .. '\n'
    .. establishment .. '\n' .. address .. '\n' .. (account[6] and '1' or '0') .. '\n' .. spend .. '\n' .. (owes or '')
    .. '\n' .. (fresh and '1' or '0') .. '\n' .. device .. '\n' .. (account[4] or '')
end)

local function lookups_trim_jar(key)
  if redis.call('HLEN', key) <= LOOKUPS_JAR_MOST then
    return
  end
  local entries, session = {}, redis.call('HGETALL', key)
  for i = 1, #session, 2 do
    if string.sub(session[i], 1, 2) == 'j:' then
      entries[#entries + 1] = { session[i], tonumber(session[i + 1]) or 0 }
    end
  end
  -- The newest stay; among equals the name decides, so that every replay of a trace agrees.
  table.sort(entries, function(a, b)
    if a[2] ~= b[2] then return a[2] > b[2] end
    return a[1] < b[1]
  end)
  for i = LOOKUPS_JAR_MOST + 1, #entries do
    redis.call('HDEL', key, entries[i][1])
  end
end

-- KEYS: marker, account, session, patients, opened, counters.
-- ARGV: store id, has session (1/0), bounds (an id, then in full or nothing), rows, bytes, exports, probes, sightings, number of credentials to add, to drop,
-- number of patients opened, step_up_ms, quarantine_ms, then those credentials, the opened patients, and the listed ones.
-- Returns lines: standing, live (1/0), spend (empty: nothing was to be spent); or 'bounds', and has done nothing, when it
-- has to be told them in full.
redis.register_function('ecluse_reveal', function(keys, args)
  local account = redis.call('HMGET', keys[2], 'state', 'epoch', 'secret', 'glass_until_ms', 'glass_patients',
    'enrolled_ms', 'establishment', 'cluster')
  local at_us, fresh, device, live = now_us(), false, nil, false
  local standing, has_session = lookups_standing(account[1]), args[2] == '1'
  local session, facts
  if has_session and not lookups_closed(standing) then
    session = redis.call('HMGET', keys[3], 'facts', 'stepped_ms')
    facts = sessions_facts(keys[3], session[1])
    live = facts and facts.epoch == (account[2] or '0')
  end
  local refused = guard_lately(keys, args, at_us, live)
  if refused then return refused end
  if lookups_closed(standing) or (has_session and not live) then
    return standing .. '\n0\n'
  end
  local bounds = lookups_bounds(string.sub(args[3], 1, LOOKUPS_ID_CHARS), string.sub(args[3], LOOKUPS_ID_CHARS + 2))
  if not bounds then
    return 'bounds'
  end
  local strict_ms, measures = measures_now(account[7], at_us)
  if live then
    fresh = lookups_fresh(session[2], math.floor(at_us / 1000), args[12], strict_ms)
    device = facts.device ~= '' and facts.device or nil
  end
  local add, drop, opened_count = tonumber(args[9]), tonumber(args[10]), tonumber(args[11])
  local opened, listed, first = {}, {}, 14 + add + drop
  for i = 1, opened_count do
    opened[i] = args[first + i - 1]
  end
  first = first + opened_count
  for i = first, #args do
    listed[i - first + 1] = args[i]
  end
  local costs = {
    r = tonumber(args[4]), b = tonumber(args[5]), e = tonumber(args[6]), o = tonumber(args[7]), s = tonumber(args[8]),
  }
  local at_ms, held = math.floor(at_us / 1000), bounds[measures]
  local limits, extra = held.limits, (tonumber(account[4] or nil) or 0) > at_ms and tonumber(account[5]) or 0
  if account[6] and at_ms - tonumber(account[6]) < tonumber(args[13]) then
    held.quarantined = held.quarantined or limits_scaled(held.limits, LOOKUPS_QUARANTINE_MILLI)
    limits = held.quarantined
  end
  local account_keys = { patients = keys[4], opened = keys[5], counters = keys[6] }
  -- A machine without session works for nobody in particular: it shares no device, and joins no cluster.
  local cluster = has_session and account[8] and pools_in(account[8], string.match(keys[2], '{(%x+)}'), 0)
  local shared = pools_shared(held.pools, { d = device, c = cluster, e = account[7], s = 'all' })
  local spend = limits_spend(at_us, account_keys, limits, costs, opened, listed,
    lookups_unasked(has_session, account[3], fresh), extra, held.pools, shared)
  -- The application's answer leaves only when the charge was committed, and its cookies with it.
  if has_session and string.byte(spend) == LOOKUPS_YES then
    for i = 14, 13 + add do
      redis.call('HSET', keys[3], 'j:' .. args[i], whole(at_ms))
    end
    for i = 14 + add, 13 + add + drop do
      redis.call('HDEL', keys[3], 'j:' .. args[i])
    end
    if add > 0 then
      lookups_trim_jar(keys[3])
    end
  end
  return standing .. '\n1\n' .. spend
end)
