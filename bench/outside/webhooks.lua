-- Sends every request of a file once, over all connections, then stops wrk and reports one JSON line.
-- The file: repeated "<length>\n<bytes>"; the bytes are the whole HTTP request. Arguments: file, how many warm up.

local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long seconds; long microseconds; } bench_time;
  int gettimeofday(bench_time *now, void *zone);
  int getpid(void);
  int kill(int pid, int number);
]]

local TAIL = 2048 -- After the last request: repeats of the first, so that nothing of the file is left unanswered.
local moment = ffi.new("bench_time")
local threads = {}

local function now()
  ffi.C.gettimeofday(moment, nil)
  return tonumber(moment.seconds) + tonumber(moment.microseconds) / 1e6
end

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  requests = {}
  local file = assert(io.open(arguments[1], "rb"))
  while true do
    local length = file:read("*n")
    if not length then break end
    file:read(1)
    requests[#requests + 1] = file:read(length)
  end
  file:close()
  warm_up = tonumber(arguments[2])
  sent, started, finished, asked = 0, 0, 0, false
  collectgarbage("stop") -- The table is all there is; walking it again and again would cost the measured machine.
end

function request()
  if not asked then -- wrk asks once before it starts and throws the answer away.
    asked = true
    return requests[1]
  end
  sent = sent + 1
  if sent == warm_up + 1 then started = now() end
  if sent == #requests then finished = now() end
  if sent == #requests + TAIL then ffi.C.kill(ffi.C.getpid(), 2) end
  return requests[sent] or requests[1]
end

function done(summary, latency)
  local thread = threads[1]
  io.write(string.format(
    '{"sent": %d, "answered": %d, "not_200": %d, "broken": %d, "seconds": %.6f, "p50_ms": %.3f, "p99_ms": %.3f}\n',
    thread:get("sent"), summary.requests, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    thread:get("finished") - thread:get("started"), latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
