-- The two trips of an exchange: `ecluse_enter` before the request goes upstream, `ecluse_reveal` before the
-- application's answer leaves.

local LOOKUPS_JAR_MOST = 64
local LOOKUPS_REFRESH_MS = 1000
local LOOKUPS_QUARANTINE_MILLI = 500

local function lookups_standing(state)
  return state or 'absent'
end

-- Whether soft bounds ask nothing: a fresh code was given, or there is nobody to give one.
local function lookups_unasked(has_session, secret, fresh)
  return fresh or not has_session or not secret
end

local function lookups_closed(standing)
  return standing == 'locked' or standing == 'retired'
end

-- KEYS: marker, account, session, counters.
-- ARGV: store id, has session (1/0), app, idle_ms, absolute_ms, pending_ms, step_up_ms, spend a request (1/0), class believed,
-- limits, then hashes of the credentials shown.
-- Returns {'class-is', class} and has done nothing, when a request is to be spent under another class;
-- else {standing, stage, expired, known bits, class, establishment, login, address, enrolled, spend, owes, fresh,
-- device}: owes is the word for a fresh code that this session has not given since it was asked of the account, or
-- false; fresh tells whether one was given less than step_up_ms ago; device is the one it was opened with.
redis.register_function('ecluse_enter', function(keys, args)
  local refused = guard(keys, args)
  if refused then return refused end
  local account = redis.call('HMGET', keys[2], 'state', 'class', 'establishment', 'login', 'epoch', 'secret',
    'owes_until_ms', 'owes_since_ms', 'owes_why')
  local standing, at_us = lookups_standing(account[1]), now_us()
  local at_ms = math.floor(at_us / 1000)
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
      local life_ms = tonumber(args[5])
      if session[2] ~= 'full' then
        life_ms = math.min(life_ms, tonumber(args[6]))
      end
      if at_ms - created_ms < life_ms and at_ms - seen_ms < tonumber(args[4]) then
        stage, address, device = session[2], session[6] or '', session[8]
        for i = first_known, #fields do
          known[#known + 1] = session[i] and '1' or '0'
        end
        if (tonumber(account[7]) or 0) > at_ms and (tonumber(session[7]) or 0) < (tonumber(account[8]) or 0) then
          owes = account[9]
        end
        if session[7] and at_ms - tonumber(session[7]) < tonumber(args[7]) then
          fresh = 1
        end
      else
        expired = 1
      end
    end
  end

  local spends = args[8] == '1' and not lookups_closed(standing) and (stage == 'full' or not has_session)
  if spends and (account[2] or '') ~= args[9] then
    return { 'class-is', account[2] or '' }
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
    spend = limits_spend(at_us, { counters = keys[4] }, limits_parse(args[10]), { g = 1 }, {}, {},
      lookups_unasked(has_session, account[6], fresh == 1))
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
-- ARGV: store id, has session (1/0), limits, rows, bytes, exports, probes, sightings, number of credentials to add,
-- to drop, number of patients opened, step_up_ms,
-- quarantine_ms, pools, then those credentials, the opened patients, and the listed ones.
-- Returns {standing, live, spend}.
redis.register_function('ecluse_reveal', function(keys, args)
  local refused = guard(keys, args)
  if refused then return refused end
  local account = redis.call('HMGET', keys[2], 'state', 'epoch', 'secret', 'glass_until_ms', 'glass_patients',
    'enrolled_ms', 'cluster', 'establishment')
  local at_us, fresh, device = now_us(), false, nil
  local standing, has_session = lookups_standing(account[1]), args[2] == '1'
  if lookups_closed(standing) then
    return { standing, 0, false }
  end
  if has_session then
    local session = redis.call('HMGET', keys[3], 'created_ms', 'epoch', 'stepped_ms', 'device')
    if not session[1] or (session[2] or '0') ~= (account[2] or '0') then
      return { standing, 0, false }
    end
    fresh = session[3] and math.floor(at_us / 1000) - tonumber(session[3]) < tonumber(args[12])
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
  local limits = limits_parse(args[3])
  if account[6] and math.floor(at_us / 1000) - tonumber(account[6]) < tonumber(args[13]) then
    limits = limits_scaled(limits, LOOKUPS_QUARANTINE_MILLI)
  end
  local extra = (tonumber(account[4]) or 0) > math.floor(at_us / 1000) and tonumber(account[5]) or 0
  local account_keys = { patients = keys[4], opened = keys[5], counters = keys[6] }
  -- A machine without session works for nobody in particular: it shares no device, and joins no cluster.
  local pools = pools_of(args[14], {
    d = device, c = has_session and pools_in(account[7], string.match(keys[2], '{(%x+)}'), 0), e = account[8], s = 'all',
  })
  local spend = limits_spend(at_us, account_keys, limits, costs, opened, listed,
    lookups_unasked(has_session, account[3], fresh), extra, pools)
  -- The application's answer leaves only when the charge was committed, and its cookies with it.
  if has_session and spend[1] == 1 then
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
