-- What wrk sends, and what it saw as one line of JSON. load.py sets the environment:
--   METHOD, TARGET, BODY   the request; in the last two {n} is a number of its own, {line} the next line of a file
--   LINES                  that file; at its end the run is over, or begins anew with CYCLE=1
--   TAKE, KEEP             a pattern of replies; what it captures becomes a line of the file KEEP, or with KEEP=lines
--                          the line of a later request
--   PAUSE, REFUSED_PAUSE   ms before each request, and before one that follows a refusal
--   REFUSAL                a status that is an answer too
local ffi = require("ffi")
ffi.cdef("typedef struct { long s, ns; } at_t; int clock_gettime(int, at_t *);")
local at = ffi.new("at_t")
local function now()
  ffi.C.clock_gettime(1, at)
  return tonumber(at.s) + tonumber(at.ns) / 1e9
end

local get = os.getenv
local target, body = get("TARGET"), get("BODY")
local take, keep, cycle = get("TAKE"), get("KEEP"), get("CYCLE") == "1"
local pause, refused_pause = tonumber(get("PAUSE") or 0), tonumber(get("REFUSED_PAUSE") or 0)
local refusal = tonumber(get("REFUSAL") or 0)
local lines, first, last, number, owed = {}, 1, 0, 0, 0
begun, ended, refused, wrong, wrong_status = 0, 0, 0, 0, 0
wrk.method = get("METHOD")

if get("LINES") then
  for line in io.lines(get("LINES")) do last = last + 1; lines[last] = line end
end

local function fill(text, values)
  return text and (text:gsub("{(%w+)}", values))
end

local has_lines, line, is_trial = get("LINES") ~= nil, "", true
local function take_line()
  if first > last then
    if cycle then
      first = 1
    else
      -- What is sent after the last line is not waited for.
      if ended == 0 then ended = now() end
      if keep == "lines" then wrong = wrong + 1 end
      wrk.thread:stop()
      return
    end
  end
  line = lines[first]
  first = first + 1
end

if (target .. (body or "")):find("{%w+}") then
  function request()
    number = number + 1
    if has_lines then take_line() end
    -- wrk asks for one request before the run, to look at it.
    if is_trial then
      is_trial, first = false, 1
    elseif begun == 0 then
      begun = now()
    end
    local values = { n = string.format("%012d", number), line = line }
    return wrk.format(wrk.method, fill(target, values), nil, fill(body, values))
  end
else
  wrk.path, wrk.body = target, body
end

if take or refusal > 0 then
  local file = keep and keep ~= "lines" and io.open(keep, "a")
  function response(status, _, text)
    if status == refusal then
      refused, owed = refused + 1, owed + 1
      return
    end
    local found = take and status < 300 and text:match(take)
    if status >= 300 or (take and not found) then
      wrong, wrong_status = wrong + 1, status
    elseif file then
      file:write(found, "\n")
      file:flush()
    elseif found then
      last = last + 1
      lines[last] = found
    end
  end
end

if pause > 0 or refused_pause > 0 then
  function delay()
    if owed > 0 then
      owed = owed - 1
      return refused_pause
    end
    return pause
  end
end

local threads = {}
function setup(thread) table.insert(threads, thread) end

function done(summary, latency, _)
  local thread, errors = threads[1], summary.errors
  local seconds = summary.duration / 1e6
  if thread:get("ended") > 0 then seconds = thread:get("ended") - thread:get("begun") end
  io.write(string.format(
    '\nSAW {"requests":%d,"seconds":%.6f,"p50_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f,"status":%d,"refused":%d,' ..
    '"wrong":%d,"wrong_status":%d,"broken":%d}\n', summary.requests, seconds, latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, latency.max / 1e3, errors.status, thread:get("refused"), thread:get("wrong"),
    thread:get("wrong_status"), errors.connect + errors.read + errors.write + errors.timeout))
end
