-- Patients counted together: by device, by cluster of accounts that shared one, by establishment, for the site.
-- The oracle of the clusters is clusters.py.

local POOLS_STEMS = { d = 'ecluse:device', c = 'ecluse:cluster', e = 'ecluse:establishment', s = 'ecluse:site' }
local POOLS_DEVICES_MOST = 32
local POOLS_ACCOUNTS_MOST = 64
local POOLS_SPARE_MS = 86400000

local function pools_keys(kind, id)
  if not id or id == '' then
    return nil
  end
  local stem = kind == 's' and POOLS_STEMS.s or POOLS_STEMS[kind] .. ':' .. id
  return { patients = stem .. ':patients', opened = stem .. ':opened' }
end

-- 'd200|p600,150,300,e;c200|...': each pool's letter, then its limits as limits_parse takes them. What is kept of a
-- pool is what its longest window needs.
local pools_parse = remembering(256, function(text)
  local pools = {}
  for kind, rest in string.gmatch(text, '(%a)([^;]+)') do
    local limits, keep_ms = limits_parse(rest), 3600000
    for _, limit in ipairs(limits) do
      keep_ms = math.max(keep_ms, limit.window_ms)
    end
    local ttl_s = math.floor(keep_ms / 1000 * 8 / 7)
    pools[#pools + 1] = { kind = kind, limits = limits, keep_ms = keep_ms, ttl_s = ttl_s }
  end
  return pools
end)

-- The keys of each of *pools* by its position, for what *ids* (by letter) belong to. A pool without limits is none.
local function pools_shared(pools, ids)
  local shared = {}
  for i = 1, #pools do
    shared[i] = #pools[i].limits > 0 and pools_keys(pools[i].kind, ids[pools[i].kind]) or false
  end
  return shared
end

local function pools_account(id)
  return 'ecluse:{' .. id .. '}:'
end

local function pools_members(cluster)
  return POOLS_STEMS.c .. ':' .. cluster .. ':accounts'
end

-- *cluster* if the account *id* that names it has been in it since *since_ms*, else nil.
local function pools_in(cluster, id, since_ms)
  local at_ms = cluster and redis.call('ZSCORE', pools_members(cluster), id)
  return at_ms and tonumber(at_ms) > since_ms and cluster or nil
end

-- The cluster that account *id* is in now; nil when it is in none, or has not logged in for too long.
local function pools_cluster(id, since_ms)
  return pools_in(redis.call('HGET', pools_account(id) .. 'account', 'cluster'), id, since_ms)
end

local function pools_size(cluster, since_ms)
  if not cluster then
    return 1
  end
  redis.call('ZREMRANGEBYSCORE', pools_members(cluster), '-inf', whole(since_ms))
  return redis.call('ZCARD', pools_members(cluster))
end

-- What *stems* have seen is seen by *cluster* from now on.
local function pools_gather(cluster, stems)
  for _, part in ipairs({ 'patients', 'opened' }) do
    local target = POOLS_STEMS.c .. ':' .. cluster .. ':' .. part
    local words = { target, #stems + 1, target }
    for _, stem in ipairs(stems) do
      words[#words + 1] = stem .. part
    end
    words[#words + 1], words[#words + 2] = 'AGGREGATE', 'MAX'
    redis.call('ZUNIONSTORE', unpack(words))
    redis.call('EXPIRE', target, LIMITS_PATIENTS_TTL_S)
  end
end

local function pools_join(cluster, id, at_ms)
  redis.call('ZADD', pools_members(cluster), 'GT', at_ms, id)
  redis.call('HSET', pools_account(id) .. 'account', 'cluster', cluster)
end

-- One cluster out of those of two accounts; what both had seen before counts in it. Returns its name.
local function pools_unite(id, own, at_ms, other, its, its_ms)
  if own and its then
    local into, from = own, its
    if redis.call('ZCARD', pools_members(its)) > redis.call('ZCARD', pools_members(own)) then
      into, from = its, own
    end
    local moved = redis.call('ZRANGE', pools_members(from), 0, -1, 'WITHSCORES')
    for i = 1, #moved, 2 do
      pools_join(into, moved[i], moved[i + 1])
    end
    local stem = POOLS_STEMS.c .. ':' .. from .. ':'
    pools_gather(into, { stem })
    redis.call('DEL', pools_members(from), stem .. 'patients', stem .. 'opened')
    return into
  end
  local cluster = own or its or whole(redis.call('INCR', 'ecluse:clusters'))
  local stems = {}
  if not own then
    pools_join(cluster, id, at_ms)
    stems[#stems + 1] = pools_account(id)
  end
  if not its then
    pools_join(cluster, other, its_ms)
    stems[#stems + 1] = pools_account(other)
  end
  pools_gather(cluster, stems)
  return cluster
end

-- Somebody logs in as the account of *key* with *device*: the account is put into one cluster with those that did so
-- less than *linked_ms* ago, the latest first, as long as it holds *accounts_most* at most. Who would make it
-- larger stays outside: on a device that a whole ward shares, the device's own count remains.
local function pools_link(now, key, device, accounts_most, linked_ms)
  local id, since_ms = string.match(key, '{(%x+)}'), now - linked_ms
  local users, devices = POOLS_STEMS.d .. ':' .. device .. ':accounts', pools_account(id) .. 'devices'
  for set, member in pairs({ [users] = id, [devices] = device }) do
    redis.call('ZADD', set, 'GT', whole(now), member)
    redis.call('ZREMRANGEBYSCORE', set, '-inf', whole(since_ms))
    redis.call('ZREMRANGEBYRANK', set, 0, set == users and -POOLS_ACCOUNTS_MOST - 1 or -POOLS_DEVICES_MOST - 1)
    redis.call('PEXPIRE', set, whole(linked_ms + POOLS_SPARE_MS))
  end
  local own = pools_cluster(id, since_ms)
  if own then
    redis.call('ZADD', pools_members(own), 'GT', whole(now), id)
    redis.call('ZREMRANGEBYSCORE', pools_members(own), '-inf', whole(since_ms))
  end
  local found = redis.call('ZREVRANGE', users, 0, -1, 'WITHSCORES')
  for i = 1, #found, 2 do
    local other = found[i]
    local its = other ~= id and pools_cluster(other, since_ms)
    if other ~= id and not (own and its == own) then
      if pools_size(own, since_ms) + pools_size(its, since_ms) <= accounts_most then
        own = pools_unite(id, own, whole(now), other, its, found[i + 1])
      end
    end
  end
  if own then
    redis.call('PEXPIRE', pools_members(own), whole(linked_ms + POOLS_SPARE_MS))
  end
end

-- KEYS: marker, account. ARGV: store id, linked_ms. Returns the cluster ('' for none), its accounts, and for each device
-- of the account (the latest first): device, when it last logged in with it in ms, the accounts that did so too.
redis.register_function('ecluse_linked', function(keys, args)
  local refused = guard(keys, args)
  if refused then return refused end
  local id, since_ms = string.match(keys[2], '{(%x+)}'), now_ms() - tonumber(args[2])
  local cluster, accounts, devices = pools_cluster(id, since_ms), {}, {}
  if cluster then
    accounts = redis.call('ZRANGE', pools_members(cluster), '(' .. whole(since_ms), '+inf', 'BYSCORE')
  end
  local found = redis.call('ZRANGE', pools_account(id) .. 'devices', '+inf', '(' .. whole(since_ms), 'BYSCORE', 'REV',
    'WITHSCORES')
  for i = 1, #found, 2 do
    local users = redis.call('ZRANGE', POOLS_STEMS.d .. ':' .. found[i] .. ':accounts', '(' .. whole(since_ms), '+inf',
      'BYSCORE')
    devices[#devices + 1] = { found[i], found[i + 1], users }
  end
  return { cluster or '', accounts, devices }
end)

-- KEYS: marker. ARGV: store id, device, linked_ms. Returns the accounts that logged in with the device, the latest first.
redis.register_function('ecluse_device_accounts', function(keys, args)
  local refused = guard(keys, args)
  if refused then return refused end
  local since_ms = now_ms() - tonumber(args[3])
  local users = POOLS_STEMS.d .. ':' .. args[2] .. ':accounts'
  return redis.call('ZRANGE', users, '+inf', '(' .. whole(since_ms), 'BYSCORE', 'REV')
end)

-- KEYS: marker, patients, opened, counters, and where requests are counted of an account that is known. ARGV: store id, limits. What each limit has
-- used: requests, thousandths of a patient, rows, bytes, ... in the limits' order.
redis.register_function('ecluse_usage', function(keys, args)
  local refused = guard(keys, args)
  if refused then return refused end
  local at_us, limits, used = now_us(), limits_parse(args[2]), {}
  local account = { patients = keys[2], opened = keys[3], counters = keys[4] }
  for i, limit in ipairs(limits) do
    if limit.kind == 'p' then
      local seen = { keys = account, asked = {}, patients = {}, opened = {} }
      used[i] = limits_patients(math.floor(at_us / 1000), limit, limits.listed_weight, seen, true).before
    elseif limit.kind == 'g' then
      local stored = redis.call('HGET', keys[5], LIMITS_REQUESTS) or redis.call('HGET', keys[4], LIMITS_REQUESTS)
      used[i] = limits_requests_used(at_us, stored, limit)
    else
      local _, sum = limits_sum(keys[4], limit.kind, math.floor(at_us / LIMITS_BUCKET_US[limit.kind]))
      used[i] = sum
    end
  end
  return used
end)
