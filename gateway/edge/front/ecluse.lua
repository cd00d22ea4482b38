-- The question that HAProxy asks the edge check; loaded by the configuration beside it, which says whom to ask.
-- Whatever goes wrong leaves txn.ecluse_passed unset, and the configuration denies what has it not.

local place = os.getenv("ECLUSE_EDGE")
local secret = os.getenv("ECLUSE_EDGE_SECRET") or ""
local timeout_ms = tonumber(os.getenv("ECLUSE_EDGE_TIMEOUT_MS"))
local credentials = { "cookie", "authorization", "x-ecluse-assertion" }
local hop_by_hop = {
    ["host"] = true, ["connection"] = true, ["keep-alive"] = true, ["te"] = true, ["trailer"] = true,
    ["transfer-encoding"] = true, ["upgrade"] = true, ["content-length"] = true, ["proxy-connection"] = true,
}

local function question(txn)
    local lines = {}
    for name, values in pairs(txn.http:req_get_headers()) do
        if not hop_by_hop[name] then
            lines[name] = {}
            for index = 0, #values do
                table.insert(lines[name], values[index])
            end
        end
    end
    lines["x-ecluse-front"] = { secret }
    lines["x-forwarded-method"] = { txn.f:method() }
    lines["x-forwarded-uri"] = { txn.f:pathq() }
    lines["x-forwarded-host"] = { txn.f:req_hdr("host") }
    lines["x-forwarded-proto"] = { "https" }
    lines["x-forwarded-for"] = { txn.f:src() }
    return lines
end

local function refuse(txn, answer)
    local reply = txn:reply({ status = answer.status })
    for name, values in pairs(answer.headers) do
        if not hop_by_hop[name] then
            for index = 0, #values do
                reply:add_header(name, values[index])
            end
        end
    end
    reply:set_body(answer.body or "")
    txn:done(reply)
end

core.register_action("ecluse_check", { "http-req" }, function(txn)
    local answer = core.httpclient():get({
        url = "http://ecluse/check", dst = place, headers = question(txn), timeout = timeout_ms,
    })
    if answer == nil or answer.status == nil or answer.status < 200 then
        return
    end
    if answer.status ~= 200 then
        return refuse(txn, answer)
    end
    for _, name in ipairs(credentials) do
        txn.http:req_del_header(name)
        local given = answer.headers[name]
        if given ~= nil then
            txn.http:req_set_header(name, given[0])
        end
    end
    txn:set_var("txn.ecluse_passed", true)
end, 0)
