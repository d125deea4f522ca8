-- What wrk sends. Arguments after `--`, each NAME=VALUE:
--   tokens=FILE   lines of one length; without it no credential is sent
--   bytes=N       length of a token
--   first=N       number of the first token to take, from 0
--   count=N       how many to take
--   limit=N       wrk ends after N requests, before its time is up; 0: it does not
--   body=N        POST with a body of N bytes, to /orders/body

local requests, total, sent, limit = {}, 0, 0, 0

local function arguments(args)
  local named = {}
  for _, argument in ipairs(args) do
    local name, value = argument:match("^(%w+)=(.*)$")
    named[name] = value
  end
  return named
end

local function request_with(credential, body)
  local head = body and "POST /orders/body HTTP/1.1\r\n" or "GET /orders/1 HTTP/1.1\r\n"
  head = head .. "Host: " .. wrk.headers["Host"] .. "\r\n" .. credential
  if body then
    head = head .. "Content-Type: application/octet-stream\r\nContent-Length: " .. #body .. "\r\n"
  end
  return head .. "\r\n" .. (body or "")
end

function init(args)
  local named = arguments(args)
  local body = named.body and string.rep("x", tonumber(named.body))
  limit = tonumber(named.limit)
  if not named.tokens then
    requests = { request_with("", body) }
    total = 1
    return
  end
  local bytes, first, count = tonumber(named.bytes), tonumber(named.first), tonumber(named.count)
  local file = assert(io.open(named.tokens, "rb"))
  assert(file:seek("set", first * (bytes + 1)))
  for index = 1, count do
    local token = assert(file:read(bytes + 1), "the tokens ran out"):sub(1, bytes)
    requests[index] = request_with("Authorization: Bearer " .. token .. "\r\n", body)
  end
  file:close()
  total = count
end

-- wrk's main thread sleeps out its whole duration unless a signal wakes it.
local function finish()
  local ffi = require("ffi")
  ffi.cdef("int getpid(void); int kill(int, int);")
  wrk.thread:stop()
  ffi.C.kill(ffi.C.getpid(), 2)
end

function request()
  sent = sent + 1
  if sent == limit + 1 and limit > 0 then finish() end
  return requests[(sent - 1) % total + 1]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '\nRESULT {"requests":%d,"seconds":%.6f,"p50":%d,"p99":%d,"p999":%d,"refused":%d,"socket_errors":%d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
