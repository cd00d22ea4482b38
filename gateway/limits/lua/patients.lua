-- Distinct patients, in two sorted sets: when each was last seen in any way, and when opened. The oracle is distinct.py.
-- Scores are milliseconds, rounded up to a whole second. A page that asks for one patient ten times within a second
-- writes once; nobody is forgotten too soon.
local LIMITS_CHUNK = 1000

-- When each of *members* was last noted (false: never), and the least of these, 0 when one never was.
local function limits_scores(key, members)
  local scores, least = {}, math.huge
  for first = 1, #members, LIMITS_CHUNK do
    local last = math.min(first + LIMITS_CHUNK - 1, #members)
    local found = redis.call('ZMSCORE', key, unpack(members, first, last))
    for i = 1, #found do
      local score = tonumber(found[i] or nil) or false
      scores[first + i - 1] = score
      if (score or 0) < least then
        least = score or 0
      end
    end
  end
  return scores, least
end

-- What is known of the patients of a charge: when each was last seen in any way. When each of those that were opened was
-- last opened is asked for only where it matters.
local function limits_seen(keys, opened, all)
  local seen = { keys = keys, asked = opened, opened_least = #opened == 0 and math.huge or nil }
  seen.patients, seen.least = limits_scores(keys.patients, all)
  return seen
end

local function limits_opened(seen)
  if not seen.opened then
    seen.opened, seen.opened_least = limits_scores(seen.keys.opened, seen.asked)
  end
  return seen.opened
end

-- Whether everybody was seen, and opened who was opened, after *since_ms*.
local function limits_all_after(seen, since_ms)
  if seen.least <= since_ms then
    return false
  end
  if not seen.opened_least then
    limits_opened(seen)
  end
  return seen.opened_least > since_ms
end

local function limits_whole_second(now_ms)
  return math.ceil(now_ms / 1000) * 1000
end

local function limits_outside(scores, since)
  local count = 0
  for i = 1, #scores do
    if not scores[i] or scores[i] <= since then
      count = count + 1
    end
  end
  return count
end

-- When the others' weight will have fallen far enough for this charge: exact, or the whole window if that lies
-- further than one page of the oldest patients.
local function limits_patients_retry(now_ms, keys, limits, limit, opened, listed)
  local since = '(' .. whole(now_ms - limit.window_ms)
  local weight = limits.listed_weight
  local mine, mine_opened = {}, {}
  for _, member in ipairs(opened) do
    mine[member], mine_opened[member] = true, true
  end
  for _, member in ipairs(listed) do
    mine[member] = true
  end
  local left = #opened * 1000 + #listed * weight
  local page = LIMITS_CHUNK + #opened + #listed
  local going = {}
  for _, source in ipairs({ { keys.patients, mine, weight }, { keys.opened, mine_opened, 1000 - weight } }) do
    local key, excluded, each = source[1], source[2], source[3]
    local count, excluded_count = redis.call('ZCOUNT', key, since, '+inf'), 0
    local found = redis.call('ZRANGEBYSCORE', key, since, '+inf', 'WITHSCORES', 'LIMIT', 0, page)
    for i = 1, #found, 2 do
      if excluded[found[i]] then
        excluded_count = excluded_count + 1
      else
        going[#going + 1] = { tonumber(found[i + 1]), each }
      end
    end
    if count * 2 > #found then
      -- Members beyond the page: which of them are mine is asked one by one, and the last page entry bounds the walk.
      excluded_count = 0
      local members = key == keys.patients and listed or {}
      for _, list in ipairs({ opened, members }) do
        local scores = limits_scores(key, list)
        excluded_count = excluded_count + #scores - limits_outside(scores, now_ms - limit.window_ms)
      end
    end
    left = left + (count - excluded_count) * each
  end
  table.sort(going, function(a, b) return a[1] < b[1] end)
  for _, one in ipairs(going) do
    left = left - one[2]
    if left <= limit.hard * 1000 then
      return (one[1] + limit.window_ms - now_ms) * 1000
    end
  end
  return limit.window_ms * 1000
end

-- What of *limit* would be used by a charge of which *seen* is known, before it and after; false when it costs nothing, or
-- leaves the limit far below whatever is told. *exactly*: never false.
local function limits_patients(now_ms, limit, listed_weight, seen, exactly)
  local since = now_ms - limit.window_ms
  if not exactly and limits_all_after(seen, since) then
    -- What costs nothing crosses nothing.
    return false
  end
  local keys, from, new = seen.keys, '(' .. whole(since), limits_outside(seen.patients, since)
  local had = redis.call('ZCOUNT', keys.patients, from, '+inf')
  if not exactly and (had + new) * 10 < limit.hard * 8 and had + new <= limit.soft then
    -- Even if all of them had been opened, this would stay below the point where anything is told.
    return false
  end
  local had_opened = redis.call('ZCOUNT', keys.opened, from, '+inf')
  local new_opened = limits_outside(limits_opened(seen), since)
  local before = 1000 * had_opened + listed_weight * (had - had_opened)
  local after = before + 1000 * new_opened + listed_weight * (new - new_opened)
  return { before = before, after = after, hard = limit.hard * 1000, soft = limit.soft * 1000 }
end

local function limits_commit_patients(now_ms, key, members, others, keep_ms, ttl_s)
  local score = whole(limits_whole_second(now_ms))
  for _, list in ipairs({ members, others }) do
    for first = 1, #list, LIMITS_CHUNK do
      local pairs_ = {}
      for i = first, math.min(first + LIMITS_CHUNK - 1, #list) do
        pairs_[#pairs_ + 1] = score
        pairs_[#pairs_ + 1] = list[i]
      end
      -- GT: a clock that steps back must not make a patient look forgotten.
      redis.call('ZADD', key, 'GT', unpack(pairs_))
    end
  end
  if redis.call('PTTL', key) < keep_ms then
    redis.call('ZREMRANGEBYSCORE', key, '-inf', whole(now_ms - keep_ms))
    redis.call('EXPIRE', key, ttl_s)
  end
end

-- *seen*: what is known of these patients, nil where nobody asked. Who was noted in this very second is not noted again.
local function limits_remember(now_ms, keys, opened, listed, keep_ms, ttl_s, seen)
  local second_ms = limits_whole_second(now_ms)
  if #opened > 0 and not (seen and seen.opened_least and seen.opened_least >= second_ms) then
    limits_commit_patients(now_ms, keys.opened, opened, {}, keep_ms, ttl_s)
  end
  if #opened + #listed > 0 and not (seen and seen.least >= second_ms) then
    limits_commit_patients(now_ms, keys.patients, opened, listed, keep_ms, ttl_s)
  end
end
