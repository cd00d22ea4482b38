-- Accounts: one atomic function for each guarantee. KEYS[2] is always the account's hash.
do
    local function seconds_until(at_ms, now)
        return whole(math.max(1, math.ceil((at_ms - now) / 1000)))
    end

    local function account_id(key)
        return string.match(key, '{(%x+)}')
    end

    -- "ecluse:{ID}:account" without its last seven letters.
    local function prefix(key)
        return string.sub(key, 1, -8)
    end

    local function kill_sessions(key)
        local stem = prefix(key)
        local members = redis.call('ZRANGE', stem .. 'sessions', 0, -1)
        for _, member in ipairs(members) do
            local sid = string.match(member, '([^/]+)$')
            redis.call('DEL', stem .. 'session:' .. sid, stem .. 'parked:' .. sid, stem .. 'enrolling:' .. sid)
        end
        redis.call('DEL', stem .. 'sessions')
        return #members
    end

    local function forget_invitation(key)
        redis.call('HDEL', key, 'invitation', 'invitation_until_ms', 'invitation_id', 'invitation_failures',
            'invitation_next_try_ms')
    end

    local function forget_factor(key)
        redis.call('HDEL', key, 'secret', 'last_step', 'recovery', 'enrolled_ms', 'last_login_ms',
            'owes_since_ms', 'owes_until_ms', 'owes_why')
    end

    -- Every session of the account ends here: those listed are deleted, any other has an older epoch.
    local function end_sessions(key)
        redis.call('HINCRBY', key, 'epoch', 1)
        return kill_sessions(key)
    end

    local function lock(key, reason)
        redis.call('HSET', key, 'state', 'locked', 'locked_reason', reason)
        return end_sessions(key)
    end

    local function dormant(seen, now, dormant_s)
        return seen ~= nil and dormant_s > 0 and now - seen > dormant_s * 1000
    end

    local function last_seen(login_ms, enrolled_ms)
        return tonumber(login_ms) or tonumber(enrolled_ms)
    end

    -- What a failure costs: the delay in ms before the next try, once *failures* have been counted.
    local function delay_ms(failures, free, first_s, longest_s)
        if failures < free then
            return 0
        end
        return math.min(longest_s, first_s * 2 ^ math.min(failures - free, 40)) * 1000
    end

    local function account_get(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        return redis.call('HGETALL', keys[2])
    end

    local function account_ids(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        return redis.call('SMEMBERS', 'ecluse:accounts')
    end

    -- args: login, realm, class. Notes somebody whom nobody invited, for the time of the roll-out; an account
    -- that is known stays as it is.
    local function account_note(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        local known = redis.call('HGET', keys[2], 'state')
        if known then
            return {known == 'absent' and 'ok' or 'refused', known, '0'}
        end
        redis.call('HSET', keys[2], 'state', 'absent', 'login', args[2], 'realm', args[3], 'class', args[4],
            'created_ms', whole(now_ms()), 'epoch', '0')
        redis.call('SADD', 'ecluse:accounts', account_id(keys[2]))
        return {'ok', 'absent', '0'}
    end

    -- args: login, realm, code hash, invitation id, until ms, dormant s, then label names and values.
    local function account_invite(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        local key, now = keys[2], now_ms()
        local known = redis.call('HMGET', key, 'state', 'last_login_ms', 'enrolled_ms')
        local state = known[1] or 'absent'
        if state == 'locked' then
            return {'refused', state, '0'}
        end
        if state == 'active' then
            if not dormant(last_seen(known[2], known[3]), now, tonumber(args[7])) then
                return {'refused', state, '0'}
            end
            end_sessions(key)
        end
        if state == 'absent' then
            redis.call('HSET', key, 'created_ms', whole(now), 'epoch', '0')
        end
        forget_invitation(key)
        forget_factor(key)
        redis.call('HDEL', key, 'locked_reason')
        redis.call('HSET', key, 'login', args[2], 'realm', args[3], 'state', 'invited', 'invitation', args[4],
            'invitation_id', args[5], 'invitation_until_ms', args[6])
        for at = 8, #args, 2 do
            if args[at + 1] == '' then
                redis.call('HDEL', key, args[at])
            else
                redis.call('HSET', key, args[at], args[at + 1])
            end
        end
        redis.call('SADD', 'ecluse:accounts', account_id(key))
        return {'ok', 'invited', '0'}
    end

    -- Reserves one failure before the code is looked at, so that parallel wrong codes cannot outrun the budget.
    -- args: free, first delay s, longest delay s, lock at, dormant s (0: never dormant).
    local function account_begin_attempt(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        local key, now = keys[2], now_ms()
        local known = redis.call('HMGET', key, 'state', 'secret', 'last_step', 'failures', 'next_try_ms', 'recovery',
            'last_login_ms', 'enrolled_ms', 'epoch')
        local state = known[1] or 'absent'
        if state ~= 'active' then
            return {'refused', state, '0'}
        end
        if not known[2] then
            return {'refused', 'invited', '0'}
        end
        if dormant(last_seen(known[7], known[8]), now, tonumber(args[6])) then
            return {'refused', 'dormant', '0'}
        end
        local failures, lock_at = tonumber(known[4]) or 0, tonumber(args[5])
        if failures >= lock_at then
            -- Tries that broke off before their outcome was told: this is the first to meet the end of the budget.
            lock(key, 'failures')
            return {'refused', 'locked', '0', '1'}
        end
        local next_try = tonumber(known[5]) or 0
        if next_try > now then
            return {'refused', 'delayed', seconds_until(next_try, now)}
        end
        failures = failures + 1
        local delay = delay_ms(failures, tonumber(args[2]), tonumber(args[3]), tonumber(args[4]))
        redis.call('HSET', key, 'failures', whole(failures), 'next_try_ms', whole(now + delay))
        return {'ok', known[2], known[3] or '-1', known[6] or '[]', known[9] or '0', whole(failures)}
    end

    -- After a wrong code: locks when the budget is gone, and tells how long to wait. args: lock at, epoch.
    local function account_fail_attempt(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        local key, now = keys[2], now_ms()
        local known = redis.call('HMGET', key, 'state', 'failures', 'next_try_ms', 'epoch')
        local locked = '0'
        if known[1] == 'active' and (known[4] or '0') == args[3]
            and (tonumber(known[2]) or 0) >= tonumber(args[2]) then
            lock(key, 'failures')
            locked = '1'
        end
        local next_try = tonumber(known[3]) or 0
        return {locked, next_try > now and seconds_until(next_try, now) or '0', known[2] or '0'}
    end

    local function login_done(key, now)
        redis.call('HSET', key, 'failures', '0', 'next_try_ms', '0', 'last_login_ms', whole(now))
    end

    -- args: step, epoch.
    local function account_accept_step(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        local key = keys[2]
        local known = redis.call('HMGET', key, 'state', 'secret', 'last_step', 'epoch')
        if known[1] ~= 'active' or not known[2] or (known[4] or '0') ~= args[3] then
            return 0
        end
        if tonumber(args[2]) <= (tonumber(known[3]) or -1) then
            return 0
        end
        redis.call('HSET', key, 'last_step', args[2])
        login_done(key, now_ms())
        return 1
    end

    -- args: recovery id, epoch. Returns how many codes are left, or -1 when this one is not good any more.
    local function account_use_recovery(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        local key, now = keys[2], now_ms()
        local known = redis.call('HMGET', key, 'state', 'recovery', 'epoch')
        if known[1] ~= 'active' or not known[2] or (known[3] or '0') ~= args[3] then
            return -1
        end
        local codes, found, left = cjson.decode(known[2]), false, 0
        for _, code in ipairs(codes) do
            if code.id == args[2] and type(code.used_ms) ~= 'number' then
                code.used_ms = now
                found = true
            elseif type(code.used_ms) ~= 'number' then
                left = left + 1
            end
        end
        if not found then
            return -1
        end
        redis.call('HSET', key, 'recovery', cjson.encode(codes))
        login_done(key, now)
        return left
    end

    -- Wrong invitations are paid for by the account and by everybody together: an attacker who spreads guesses
    -- over many accounts stops too. args: code hash ('' for no code at all), free, first delay s, longest delay s,
    -- lock at, most failures an hour for everybody.
    local function account_try_invitation(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        local key, now = keys[2], now_ms()
        local everybody = 'ecluse:invitations:failures'
        local hour = whole(math.floor(now / 3600000))
        local pool = redis.call('HMGET', everybody, 'hour', 'count')
        local count = pool[1] == hour and tonumber(pool[2]) or 0
        if count >= tonumber(args[7]) then
            return {'refused', 'everybody-delayed', seconds_until((tonumber(hour) + 1) * 3600000, now)}
        end
        local known = redis.call('HMGET', key, 'state', 'invitation', 'invitation_until_ms', 'invitation_id',
            'invitation_failures', 'invitation_next_try_ms')
        local invited = known[1] == 'invited'
        if invited then
            local next_try = tonumber(known[6]) or 0
            if next_try > now then
                return {'refused', 'delayed', seconds_until(next_try, now)}
            end
            if known[2] and known[2] == args[2] and (tonumber(known[3]) or 0) > now then
                redis.call('HDEL', key, 'invitation_failures', 'invitation_next_try_ms')
                return {'ok', known[4]}
            end
        end
        redis.call('HSET', everybody, 'hour', hour, 'count', whole(count + 1))
        redis.call('PEXPIRE', everybody, 7200000)
        if not invited then
            return {'refused', known[1] or 'absent', '0'}
        end
        if known[2] and known[2] == args[2] then
            return {'refused', 'expired', '0'}
        end
        local failures = (tonumber(known[5]) or 0) + 1
        if failures >= tonumber(args[6]) then
            forget_invitation(key)
            return {'refused', 'exhausted', '0'}
        end
        local delay = delay_ms(failures, tonumber(args[3]), tonumber(args[4]), tonumber(args[5]))
        redis.call('HSET', key, 'invitation_failures', whole(failures), 'invitation_next_try_ms', whole(now + delay))
        return {'refused', known[2] and 'wrong' or 'no-invitation', delay > 0 and seconds_until(now + delay, now) or '0'}
    end

    local function invitation_holds(key, id, now)
        local known = redis.call('HMGET', key, 'state', 'invitation_id', 'invitation_until_ms')
        return known[1] == 'invited' and known[2] == id and (tonumber(known[3]) or 0) > now
    end

    -- args: session id, invitation id, sealed candidate, lifetime ms. Returns the candidate that counts.
    local function account_candidate(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        if not invitation_holds(keys[2], args[3], now_ms()) then
            return false
        end
        local key = prefix(keys[2]) .. 'enrolling:' .. args[2]
        if args[4] == '' then
            return redis.call('GET', key)
        end
        redis.call('SET', key, args[4], 'NX', 'PX', args[5])
        return redis.call('GET', key)
    end

    -- args: session id, invitation id, sealed secret, first step, recovery codes as JSON.
    local function account_enrol(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        local key, now = keys[2], now_ms()
        if not invitation_holds(key, args[3], now) then
            return 0
        end
        forget_invitation(key)
        redis.call('HSET', key, 'state', 'active', 'secret', args[4], 'last_step', args[5], 'recovery', args[6],
            'enrolled_ms', whole(now), 'last_login_ms', whole(now))
        redis.call('DEL', prefix(key) .. 'enrolling:' .. args[2])
        return 1
    end

    -- args: reason, login, realm (both '' when only a known account may be locked).
    local function account_lock(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        local key = keys[2]
        local state = redis.call('HGET', key, 'state') or 'absent'
        if state == 'retired' or (state == 'absent' and args[3] == '') then
            return {'refused', state, '0'}
        end
        if state == 'absent' then
            redis.call('HSET', key, 'login', args[3], 'realm', args[4], 'created_ms', whole(now_ms()))
            redis.call('SADD', 'ecluse:accounts', account_id(key))
        end
        return {'ok', 'locked', whole(lock(key, args[2]))}
    end

    -- args: why, for ms. Every session of the account owes a fresh code from now on, whatever it gave before; a longer
    -- debt stays as long as it was. Only somebody with a factor can pay.
    local function account_owe(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        local key, now = keys[2], now_ms()
        local known = redis.call('HMGET', key, 'state', 'secret', 'owes_until_ms')
        if known[1] ~= 'active' or not known[2] then
            return {'refused', known[1] or 'absent', '0'}
        end
        local until_ms = math.max(tonumber(known[3]) or 0, now + tonumber(args[3]))
        redis.call('HSET', key, 'owes_since_ms', whole(now), 'owes_until_ms', whole(until_ms), 'owes_why', args[2])
        return {'ok', known[1], '0'}
    end

    local function account_unlock(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        local key = keys[2]
        local known = redis.call('HMGET', key, 'state', 'secret')
        if known[1] ~= 'locked' then
            return {'refused', known[1] or 'absent', '0'}
        end
        local state = known[2] and 'active' or 'invited'
        redis.call('HSET', key, 'state', state, 'failures', '0', 'next_try_ms', '0')
        redis.call('HDEL', key, 'locked_reason')
        return {'ok', state, '0'}
    end

    local function account_reset(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        local key = keys[2]
        local state = redis.call('HGET', key, 'state') or 'absent'
        if state == 'absent' or state == 'retired' then
            return {'refused', state, '0'}
        end
        forget_factor(key)
        forget_invitation(key)
        if state ~= 'locked' then
            state = 'invited'
            redis.call('HSET', key, 'state', state)
        end
        return {'ok', state, whole(end_sessions(key))}
    end

    local function account_retire(keys, args)
        local refusal = guard(keys, args)
        if refusal then return refusal end
        local key = keys[2]
        local state = redis.call('HGET', key, 'state') or 'absent'
        if state == 'absent' or state == 'retired' then
            return {'refused', state, '0'}
        end
        forget_factor(key)
        forget_invitation(key)
        redis.call('HSET', key, 'state', 'retired')
        redis.call('HDEL', key, 'locked_reason')
        return {'ok', 'retired', whole(end_sessions(key))}
    end

    redis.register_function('ecluse_account_get', account_get)
    redis.register_function('ecluse_account_ids', account_ids)
    redis.register_function('ecluse_account_note', account_note)
    redis.register_function('ecluse_account_invite', account_invite)
    redis.register_function('ecluse_account_begin_attempt', account_begin_attempt)
    redis.register_function('ecluse_account_fail_attempt', account_fail_attempt)
    redis.register_function('ecluse_account_accept_step', account_accept_step)
    redis.register_function('ecluse_account_use_recovery', account_use_recovery)
    redis.register_function('ecluse_account_try_invitation', account_try_invitation)
    redis.register_function('ecluse_account_candidate', account_candidate)
    redis.register_function('ecluse_account_enrol', account_enrol)
    redis.register_function('ecluse_account_lock', account_lock)
    redis.register_function('ecluse_account_unlock', account_unlock)
    redis.register_function('ecluse_account_owe', account_owe)
    redis.register_function('ecluse_account_reset', account_reset)
    redis.register_function('ecluse_account_retire', account_retire)
end
