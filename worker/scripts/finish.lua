-- A run ends once: only by the settler that still holds its lease, and only the generation that it compacted.
-- KEYS: 1 run  2 open runs  3 waiting  4 drained  5 parts  6 lease  7 promoted, and where its end is told: 8 hooks  9 notice
-- ARGV: 1 run id  2 generation  3 owner, then with keys 8 and 9: id of the notice, notice, seconds to remember it; then
--       field value ...
-- Returns 1, or 0 when the run went on meanwhile.
if redis.call('GET', KEYS[6]) ~= ARGV[3] then return 0 end
local r = redis.call('HMGET', KEYS[1], 'generation', 'prepared', 'open')
if (r[1] or '0') ~= ARGV[2] or r[2] ~= '1' or tonumber(r[3] or 0) ~= 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, KEYS[9] and 7 or 4))
redis.call('SREM', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[3], KEYS[4], KEYS[5], KEYS[7])
if KEYS[9] and redis.call('HSETNX', KEYS[9], 'notice', ARGV[5]) == 1 then
  redis.call('EXPIRE', KEYS[9], ARGV[6])
  redis.call('ZADD', KEYS[8], 0, ARGV[4])
end
return 1
