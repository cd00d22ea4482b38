-- Sends heads in turn, reads every answer, and tells as JSON: wrk ... -s wrk.lua URL -- EXPECTED HEAD...
-- EXPECTED and HEAD are files: the body that every answer must have, and whole request heads.
local threads = {}

function setup(thread) table.insert(threads, thread) end

local function content(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

function init(args)
  expected, heads, at, right, wrong, sample = content(args[1]), {}, 0, 0, 0, ""
  for number = 2, #args do heads[number - 1] = content(args[number]) end
end

function request()
  at = at % #heads + 1
  return heads[at]
end

function response(status, headers, body)
  if status == 200 and body == expected then
    right = right + 1
  else
    wrong = wrong + 1
    if sample == "" then sample = status .. " " .. body:sub(1, 160) end
  end
end

function done(summary, latency, requests)
  local right, wrong, sample = 0, 0, ""
  for _, thread in ipairs(threads) do
    right, wrong = right + thread:get("right"), wrong + thread:get("wrong")
    if sample == "" then sample = thread:get("sample") end
  end
  local broken = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format(
    '\n{"right": %d, "wrong": %d, "broken": %d, "us": %d, "median_us": %d, "p99_us": %d, "sample": "%s"}\n',
    right, wrong, broken, summary.duration, latency:percentile(50), latency:percentile(99),
    (sample:gsub('[^%w%p ]', "."):gsub('["\\]', "'"))))
end
