-- A run ends once: only by the settler that still holds its lease, and only as it was when it was compacted.
-- KEYS: 1 run  2 open runs  3 waiting  4 drained  5 parts  6 lease  7 promoted  8 all runs  9 the run's budget, and where its end is
--       told: 10 hooks  11 notice
-- ARGV: 1 run id  2 generation  3 started_ms  4 owner  5 seconds to keep an inbox run  6 seconds to keep the budget, then with keys
--       10 and 11: id of the notice, notice, seconds to remember it; then field value ...
-- Returns 1, or 0 when the run went on meanwhile.
if redis.call('GET', KEYS[6]) ~= ARGV[4] then return 0 end
local r = redis.call('HMGET', KEYS[1], 'generation', 'prepared', 'open', 'started_ms', 'inbox')
if (r[1] or '0') ~= ARGV[2] or r[2] ~= '1' or tonumber(r[3] or 0) ~= 0 or (r[4] or '') ~= ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, KEYS[11] and 10 or 7))
redis.call('SREM', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[3], KEYS[4], KEYS[5], KEYS[7])
redis.call('EXPIRE', KEYS[9], ARGV[6])
if (r[5] or '') ~= '' then  -- there may be one every half a minute
  redis.call('ZREM', KEYS[8], ARGV[1])
  redis.call('EXPIRE', KEYS[1], ARGV[5])
end
if KEYS[11] and redis.call('HSETNX', KEYS[11], 'notice', ARGV[8]) == 1 then
  redis.call('EXPIRE', KEYS[11], ARGV[9])
  redis.call('ZADD', KEYS[10], 0, ARGV[7])
end
return 1
