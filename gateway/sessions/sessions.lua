-- Sessions, parked answers and doors. KEYS[2] of the session functions is the account's hash.

-- What the session at *key* is, but for its times, as one text; nil when there is no session.
local function sessions_tell_facts(key)
  local told = redis.call('HMGET', key, 'app', 'stage', 'epoch', 'address', 'device')
  if not told[1] then
    return nil
  end
  for i = 1, 5 do
    told[i] = told[i] or (i == 3 and '0' or '')
  end
  return table.concat(told, '\n')
end

-- Keeps that text as one field beside the others, `facts`: every request asks for it, and a field costs the store more than
-- its bytes. Whoever changes one of these fields of a session calls this after it.
local function sessions_note_facts(key)
  redis.call('HSET', key, 'facts', sessions_tell_facts(key))
end

-- The fields that such a text is of; none of them has a line end in it, or it says nothing of any session.
local sessions_read_facts = remembering(4096, function(text)
  local app, stage, epoch, address, device =
    string.match(text, '^([^\n]*)\n([^\n]*)\n(%d+)\n([^\n]*)\n([^\n]*)$')
  return app and { app = app, stage = stage, epoch = epoch, address = address, device = device }
end)

-- What *told*, the field `facts` of the session at *key*, says, by name: '' for what it has not. nil when there is no session.
local function sessions_facts(key, told)
  -- One that was opened before there was such a field has none; nothing is written before the marker was looked at.
  local text = told or sessions_tell_facts(key)
  return text and sessions_read_facts(text)
end

do
    local LIMIT_PENDING = 32
    local DOOR_MS = 3600000

    -- "ecluse:{ID}:account" without its last seven letters.
    local function prefix(key)
        return string.sub(key, 1, -8)
    end

    local function forget(stem, app, sid)
        redis.call('ZREM', stem .. 'sessions', app .. '/' .. sid)
        redis.call('DEL', stem .. 'parked:' .. sid, stem .. 'enrolling:' .. sid)
        return redis.call('DEL', stem .. 'session:' .. sid)
    end

    -- Closes the oldest sessions of *app* beyond *at_most*, among the full ones or among the others.
    -- Index entries whose session has expired are dropped on the way. *kept* is never closed.
    local function trim(stem, app, full, at_most, kept)
        local alive, closed = {}, {}
        for _, member in ipairs(redis.call('ZRANGE', stem .. 'sessions', 0, -1)) do
            local of, sid = string.match(member, '^(.*)/([^/]+)$')
            local stage = redis.call('HGET', stem .. 'session:' .. sid, 'stage')
            if not stage then
                redis.call('ZREM', stem .. 'sessions', member)
            elseif of == app and (stage == 'full') == full and sid ~= kept then
                alive[#alive + 1] = sid
            end
        end
        for at = 1, #alive - at_most + 1 do
            forget(stem, app, alive[at])
            closed[#closed + 1] = alive[at]
        end
        return closed
    end

    local function index(stem, app, sid, now, lifetime_ms)
        local key = stem .. 'sessions'
        redis.call('ZADD', key, whole(now), app .. '/' .. sid)
        if redis.call('PTTL', key) < lifetime_ms then
            redis.call('PEXPIRE', key, whole(lifetime_ms))
        end
    end

    -- args[first] and the two after it tell the device, as pools_link takes them.
    local function note_device(account, session, now, args, first)
        if args[first] ~= '' then
            redis.call('HSET', session, 'device', args[first])
            pools_link(now, account, args[first], tonumber(args[first + 1]), tonumber(args[first + 2]))
        end
    end

    -- args: session id, app, stage, address, agent, invitation, lifetime ms, at most, device ('' for none), most accounts
    -- of a cluster, how long they stay linked in ms, then the hashes of the jar.
    -- Returns the ids of the sessions closed to make room.
    local function session_open(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        local stem, now = prefix(keys[2]), now_ms()
        local sid, app, stage = args[2], args[3], args[4]
        local known = redis.call('HMGET', keys[2], 'state', 'epoch')
        if known[1] == 'locked' or known[1] == 'retired' then
            return {'refused', known[1]}
        end
        local key, lifetime = stem .. 'session:' .. sid, tonumber(args[8])
        redis.call('HSET', key, 'app', app, 'stage', stage, 'created_ms', whole(now), 'seen_ms', whole(now),
            'epoch', known[2] or '0', 'address', args[5], 'agent', args[6], 'invitation', args[7])
        note_device(keys[2], key, now, args, 10)
        sessions_note_facts(key)
        for at = 13, #args do
            redis.call('HSET', key, 'j:' .. args[at], whole(now))
        end
        redis.call('PEXPIRE', key, whole(lifetime))
        index(stem, app, sid, now, lifetime)
        local full = stage == 'full'
        local closed = trim(stem, app, full, full and tonumber(args[9]) or LIMIT_PENDING, sid)
        return {'ok', unpack(closed)}
    end

    -- A step up within a full session: a fresh code was given. All of it moves to a new id, and it lives no longer
    -- than it would have. args: old session id, new session id.
    local function session_step_up(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        local stem, old, new = prefix(keys[2]), args[2], args[3]
        local known = redis.call('HMGET', keys[2], 'state', 'epoch')
        if known[1] == 'locked' or known[1] == 'retired' then
            return {'refused', known[1]}
        end
        local session = redis.call('HMGET', stem .. 'session:' .. old, 'app', 'epoch', 'stage')
        if not session[1] or session[2] ~= (known[2] or '0') or session[3] ~= 'full' then
            return {'refused', 'no-session'}
        end
        local index_key, member = stem .. 'sessions', session[1] .. '/' .. old
        local since = redis.call('ZSCORE', index_key, member) or whole(now_ms())
        redis.call('ZREM', index_key, member)
        redis.call('ZADD', index_key, since, session[1] .. '/' .. new)
        redis.call('RENAME', stem .. 'session:' .. old, stem .. 'session:' .. new)
        redis.call('HSET', stem .. 'session:' .. new, 'stepped_ms', whole(now_ms()), 'seen_ms', whole(now_ms()))
        return {'ok'}
    end

    -- A session comes further: everything moves to a new id and the old one is dead.
    -- args: old session id, new session id, new stage, at most, lifetime ms, device ('' for none), most accounts of a
    -- cluster, how long they stay linked in ms, hashes to add to the jar.
    local function session_promote(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        local stem, now = prefix(keys[2]), now_ms()
        local old, new, stage, lifetime = args[2], args[3], args[4], tonumber(args[6])
        local fields = redis.call('HGETALL', stem .. 'session:' .. old)
        local known = redis.call('HMGET', keys[2], 'state', 'epoch')
        if #fields == 0 then
            return {'refused', 'no-session'}
        end
        local session = {}
        for at = 1, #fields, 2 do
            session[fields[at]] = fields[at + 1]
        end
        if known[1] == 'locked' or known[1] == 'retired' then
            return {'refused', known[1]}
        end
        if session.epoch ~= (known[2] or '0') then
            return {'refused', 'no-session'}
        end
        local key = stem .. 'session:' .. new
        redis.call('ZREM', stem .. 'sessions', session.app .. '/' .. old)
        redis.call('DEL', stem .. 'enrolling:' .. old)
        redis.call('RENAME', stem .. 'session:' .. old, key)
        redis.call('HSET', key, 'stage', stage, 'created_ms', whole(now), 'seen_ms', whole(now))
        note_device(keys[2], key, now, args, 7)
        sessions_note_facts(key)
        for at = 10, #args do
            redis.call('HSET', key, 'j:' .. args[at], whole(now))
        end
        redis.call('PEXPIRE', key, whole(lifetime))
        index(stem, session.app, new, now, lifetime)
        local full = stage == 'full'
        local closed = trim(stem, session.app, full, full and tonumber(args[5]) or LIMIT_PENDING, new)
        return {'ok', unpack(closed)}
    end

    -- Proving an invitation starts the waiting time again: an authenticator app may have to be installed first.
    -- args: session id, invitation id, lifetime ms.
    local function session_note_invitation(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        local stem = prefix(keys[2])
        local key = stem .. 'session:' .. args[2]
        if redis.call('EXISTS', key) == 0 then
            return 0
        end
        redis.call('HSET', key, 'invitation', args[3], 'created_ms', whole(now_ms()))
        redis.call('PEXPIRE', key, args[4])
        redis.call('PEXPIRE', stem .. 'parked:' .. args[2], args[4])
        return 1
    end

    -- args: session id.
    local function session_get(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        local session = redis.call('HGETALL', prefix(keys[2]) .. 'session:' .. args[2])
        if #session == 0 then
            return false
        end
        return {args[2], redis.call('HGET', keys[2], 'epoch') or '0', session}
    end

    -- args: session id.
    local function session_close(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        local stem = prefix(keys[2])
        local app = redis.call('HGET', stem .. 'session:' .. args[2], 'app')
        if not app then
            return 0
        end
        return forget(stem, app, args[2])
    end

    -- args: app ('' for all of them), session id to keep ('' for none). Returns the members closed.
    local function session_close_all(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        local stem, closed = prefix(keys[2]), {}
        for _, member in ipairs(redis.call('ZRANGE', stem .. 'sessions', 0, -1)) do
            local app, sid = string.match(member, '^(.*)/([^/]+)$')
            if (args[2] == '' or app == args[2]) and sid ~= args[3] then
                if forget(stem, app, sid) == 1 then
                    closed[#closed + 1] = member
                end
            end
        end
        return closed
    end

    local function session_list(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        local stem, rows = prefix(keys[2]), {}
        local epoch = redis.call('HGET', keys[2], 'epoch') or '0'
        for _, member in ipairs(redis.call('ZRANGE', stem .. 'sessions', 0, -1)) do
            local sid = string.match(member, '([^/]+)$')
            local session = redis.call('HGETALL', stem .. 'session:' .. sid)
            if #session > 0 then
                rows[#rows + 1] = {sid, epoch, session}
            end
        end
        return rows
    end

    -- args: session id, sealed answer, lifetime ms.
    local function session_park(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        local stem = prefix(keys[2])
        if redis.call('EXISTS', stem .. 'session:' .. args[2]) == 0 then
            return 0
        end
        redis.call('SET', stem .. 'parked:' .. args[2], args[3], 'PX', args[4])
        return 1
    end

    -- args: session id. Read once: whoever comes second finds nothing.
    local function session_unpark(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        return redis.call('GETDEL', prefix(keys[2]) .. 'parked:' .. args[2])
    end

    -- KEYS[2]: one door. args: account id of the name typed, '' when nobody typed one.
    -- Counts the attempt, unless the door is sealed or being tried for somebody else: returns 1 then.
    local function door_begin(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        local known = redis.call('HMGET', keys[2], 'sealed', 'attempts', 'who')
        local taken = known[1] or (tonumber(known[2]) or 0) > 0
        if taken and (args[2] == '' or known[3] ~= args[2]) then
            return 1
        end
        redis.call('HSET', keys[2], 'who', args[2])
        redis.call('HINCRBY', keys[2], 'attempts', 1)
        redis.call('PEXPIRE', keys[2], whole(DOOR_MS))
        return 0
    end

    -- KEYS[2]: one door. args: 1 when the application let somebody in, else 0; 1 when an attempt was counted, else 0.
    local function door_end(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        if args[3] == '1' and (tonumber(redis.call('HGET', keys[2], 'attempts')) or 0) > 0 then
            redis.call('HINCRBY', keys[2], 'attempts', -1)
        end
        if args[2] == '1' then
            redis.call('HSET', keys[2], 'sealed', '1')
            redis.call('PEXPIRE', keys[2], whole(DOOR_MS))
        end
        return 1
    end

    -- KEYS[2]: one door. Returns sealed (0 or 1) and how many attempts are under way.
    local function door_state(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        local known = redis.call('HMGET', keys[2], 'sealed', 'attempts')
        return {known[1] and 1 or 0, tonumber(known[2]) or 0}
    end

    redis.register_function('ecluse_session_open', session_open)
    redis.register_function('ecluse_session_promote', session_promote)
    redis.register_function('ecluse_session_step_up', session_step_up)
    redis.register_function('ecluse_session_note_invitation', session_note_invitation)
    redis.register_function('ecluse_session_get', session_get)
    redis.register_function('ecluse_session_close', session_close)
    redis.register_function('ecluse_session_close_all', session_close_all)
    redis.register_function('ecluse_session_list', session_list)
    redis.register_function('ecluse_session_park', session_park)
    redis.register_function('ecluse_session_unpark', session_unpark)
    redis.register_function('ecluse_door_begin', door_begin)
    redis.register_function('ecluse_door_end', door_end)
    redis.register_function('ecluse_door_state', door_state)
end
