-- The two trips of an exchange: `ecluse_enter` before the request goes upstream, `ecluse_reveal` before the
-- application's answer leaves.

local LOOKUPS_JAR_MOST = 64
local LOOKUPS_REFRESH_MS = 1000
local LOOKUPS_QUARANTINE_MILLI = 500
local LOOKUPS_COMMITTED = 49 -- the byte '1'

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

local lookups_times, lookups_times_count = {}, 0

-- A time told as usual/strict: read once for each text.
local function lookups_time(told, state)
  local known = lookups_times[told]
  if not known then
    if lookups_times_count >= 256 then
      lookups_times, lookups_times_count = {}, 0
    end
    known = { [0] = tonumber(measures_pick(told, 0)), [1] = tonumber(measures_pick(told, 1)) }
    lookups_times[told], lookups_times_count = known, lookups_times_count + 1
  end
  return known[state]
end

local function lookups_closed(standing)
  return standing == 'locked' or standing == 'retired'
end

-- KEYS: marker, account, session, counters.
-- ARGV: store id, has session (1/0), app, idle_ms, absolute_ms, pending_ms, step_up_ms, spend a request (1/0), class and
-- establishment believed (a line each), limits, then hashes of the credentials shown. Idle and absolute time are told
-- as usual/strict.
-- Returns {'class-is', class, establishment} and has done nothing, when a request is to be spent under others;
-- else {standing, stage, expired, known bits, class, establishment, login, address, enrolled, spend, owes, fresh,
-- device}: owes
-- is the word for a fresh code that this session has not given since it was asked of the account, or of everybody by the
-- strict posture, or false; fresh tells whether one was given less than step_up_ms ago, and since then; device is the
-- one it was opened with.
redis.register_function('ecluse_enter', function(keys, args)
  local refused = guard(keys, args)
  if refused then return refused end
  local account = redis.call('HMGET', keys[2], 'state', 'class', 'establishment', 'login', 'epoch', 'secret',
    'owes_until_ms', 'owes_since_ms', 'owes_why')
  local standing, at_us = lookups_standing(account[1]), now_us()
  local at_ms = math.floor(at_us / 1000)
  local strict_ms = measures_now(account[3], at_ms)
  local has_session, first_credential = args[2] == '1', 11
  local stage, expired, address, known, owes, fresh, device = false, 0, '', {}, false, 0, false
  local seen_ms, fields = 0, { 'app', 'stage', 'created_ms', 'seen_ms', 'epoch', 'address', 'stepped_ms', 'device' }
  local first_known = #fields + 1

  if has_session and not lookups_closed(standing) then
    for i = first_credential, #args do
      fields[#fields + 1] = 'j:' .. args[i]
    end
    local session = redis.call('HMGET', keys[3], unpack(fields))
    local created_ms = tonumber(session[3])
    seen_ms = tonumber(session[4]) or created_ms
    if session[1] == args[3] and created_ms and (session[5] or '0') == (account[5] or '0') then
      local strict = strict_ms and 1 or 0
      local life_ms, idle_ms = lookups_time(args[5], strict), lookups_time(args[4], strict)
      if session[2] ~= 'full' then
        life_ms = math.min(life_ms, tonumber(args[6]))
      end
      if at_ms - created_ms < life_ms and at_ms - seen_ms < idle_ms then
        stage, address, device = session[2], session[6] or '', session[8]
        for i = first_known, #fields do
          known[#known + 1] = session[i] and '1' or '0'
        end
        if (tonumber(account[7]) or 0) > at_ms and (tonumber(session[7]) or 0) < (tonumber(account[8]) or 0) then
          owes = account[9]
        end
        if strict_ms and account[6] and math.max(created_ms, tonumber(session[7]) or 0) < strict_ms then
          owes = owes or 'posture'
        end
        if lookups_fresh(session[7], at_ms, args[7], strict_ms) then
          fresh = 1
        end
      else
        expired = 1
        -- What was too old under the strict posture does not come back with the normal one.
        if strict_ms then redis.call('DEL', keys[3]) end
      end
    end
  end

  local spends = args[8] == '1' and not lookups_closed(standing) and (stage == 'full' or not has_session)
  if spends and (account[2] or '') .. '\n' .. (account[3] or '') ~= args[9] then
    return { 'class-is', account[2] or '', account[3] or '' }
  end
  if stage and at_ms - seen_ms >= LOOKUPS_REFRESH_MS then
    local writes = { 'seen_ms', whole(at_ms) }
    for i = first_known, #fields do
      if known[i - first_known + 1] == '1' then
        writes[#writes + 1] = fields[i]
        writes[#writes + 1] = whole(at_ms)
      end
    end
    redis.call('HSET', keys[3], unpack(writes))
  end
  local spend = false
  if spends then
    -- No measure touches the limit of requests.
    spend = limits_request(at_us, keys[4], limits_parse(args[10]), lookups_unasked(has_session, account[6], fresh == 1))
  end
  return {
    standing, stage, expired, table.concat(known), account[2], account[3], account[4], address,
    account[6] and 1 or 0, spend, owes, fresh, device,
  }
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
-- ARGV: store id, has session (1/0), limits (usual/strict/plan blanc/both), rows, bytes, exports, probes, sightings, number of credentials to add,
-- to drop, number of patients opened, step_up_ms,
-- quarantine_ms, pools (usual/strict/plan blanc/both), then those credentials, the opened patients, and the listed ones.
-- Returns {standing, live, spend}.
redis.register_function('ecluse_reveal', function(keys, args)
  local refused = guard(keys, args)
  if refused then return refused end
  local account = redis.call('HMGET', keys[2], 'state', 'epoch', 'secret', 'glass_until_ms', 'glass_patients',
    'enrolled_ms', 'establishment', 'cluster')
  local at_us, fresh, device = now_us(), false, nil
  local strict_ms, measures = measures_now(account[7], math.floor(at_us / 1000))
  local standing, has_session = lookups_standing(account[1]), args[2] == '1'
  if lookups_closed(standing) then
    return { standing, 0, false }
  end
  if has_session then
    local session = redis.call('HMGET', keys[3], 'created_ms', 'epoch', 'stepped_ms', 'device')
    if not session[1] or (session[2] or '0') ~= (account[2] or '0') then
      return { standing, 0, false }
    end
    fresh = lookups_fresh(session[3], math.floor(at_us / 1000), args[12], strict_ms)
    device = session[4]
  end
  local add, drop, opened_count = tonumber(args[9]), tonumber(args[10]), tonumber(args[11])
  local opened, listed, first = {}, {}, 15 + add + drop
  for i = first, first + opened_count - 1 do
    opened[#opened + 1] = args[i]
  end
  for i = first + opened_count, #args do
    listed[#listed + 1] = args[i]
  end
  local costs = {
    r = tonumber(args[4]), b = tonumber(args[5]), e = tonumber(args[6]), o = tonumber(args[7]), s = tonumber(args[8]),
  }
  local limits = limits_parse(measures_pick(args[3], measures))
  if account[6] and math.floor(at_us / 1000) - tonumber(account[6]) < tonumber(args[13]) then
    limits = limits_scaled(limits, LOOKUPS_QUARANTINE_MILLI)
  end
  local extra = (tonumber(account[4]) or 0) > math.floor(at_us / 1000) and tonumber(account[5]) or 0
  local account_keys = { patients = keys[4], opened = keys[5], counters = keys[6] }
  -- A machine without session works for nobody in particular: it shares no device, and joins no cluster.
  local pools = pools_of(measures_pick(args[14], measures), {
    d = device, c = has_session and pools_in(account[8], string.match(keys[2], '{(%x+)}'), 0), e = account[7], s = 'all',
  })
  local spend = limits_spend(at_us, account_keys, limits, costs, opened, listed,
    lookups_unasked(has_session, account[3], fresh), extra, pools)
  -- The application's answer leaves only when the charge was committed, and its cookies with it.
  if has_session and string.byte(spend) == LOOKUPS_COMMITTED then
    local at_ms = whole(math.floor(at_us / 1000))
    for i = 15, 14 + add do
      redis.call('HSET', keys[3], 'j:' .. args[i], at_ms)
    end
    for i = 15 + add, 14 + add + drop do
      redis.call('HDEL', keys[3], 'j:' .. args[i])
    end
    if add > 0 then
      lookups_trim_jar(keys[3])
    end
  end
  return { standing, 1, spend }
end)
