-- Requests and tokens per minute in one step, in blocks; a pause (Retry-After) stops both. Redis TIME only.
-- KEYS: 1 bucket | ARGV: 1 rpm (0 none)  2 tpm (0 none)  3 pause_ms to set (0 none), then tokens of each waiting call
-- Returns {calls admitted, wait_ms for the next}; a call of more than a minute's tokens takes a whole minute.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local rpm, tpm, pause = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local s = redis.call('HMGET', KEYS[1], 'r', 'k', 'ts', 'pause')
local function known(i, most, otherwise)  -- what was stored, unless it is nothing of ours
  local value = tonumber(s[i] or '')
  return value and value >= 0 and value <= most and value or otherwise
end
local until_ms = known(4, now + 3600000, 0)
if pause > 0 then until_ms = math.max(until_ms, now + pause); redis.call('HSET', KEYS[1], 'pause', until_ms) end
local rb, kb = math.max(1, rpm / 60), math.max(1, tpm)
local ts = known(3, now, now)
local r = math.min(rb, known(1, rb, rb) + (now - ts) * rpm / 60000)
local k = math.min(kb, known(2, kb, kb / 2) + (now - ts) * tpm / 60000)
local n, wait = 0, 0
if until_ms > now then wait = until_ms - now
else
  for i = 4, #ARGV do
    local need = math.min(tonumber(ARGV[i]), kb)
    if rpm > 0 and r < 1 then wait = math.ceil((1 - r) * 60000 / rpm) end
    if tpm > 0 and k < need then wait = math.max(wait, math.ceil((need - k) * 60000 / tpm)) end
    if wait > 0 then break end
    if rpm > 0 then r = r - 1 end
    if tpm > 0 then k = k - need end
    n = n + 1
  end
end
redis.call('HSET', KEYS[1], 'r', tostring(r), 'k', tostring(k), 'ts', now)
redis.call('PEXPIRE', KEYS[1], math.max(600000, until_ms - now + 60000))
return {n, wait}
