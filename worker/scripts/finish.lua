-- A run ends once: only by the settler that still holds its lease, and only the generation that it compacted.
-- KEYS: 1 run  2 open runs  3 waiting  4 drained  5 parts  6 lease  7 promoted | ARGV: 1 run id  2 generation  3 owner, then field value ...
-- Returns 1, or 0 when the run went on meanwhile.
if redis.call('GET', KEYS[6]) ~= ARGV[3] then return 0 end
local r = redis.call('HMGET', KEYS[1], 'generation', 'prepared', 'open')
if (r[1] or '0') ~= ARGV[2] or r[2] ~= '1' or tonumber(r[3] or 0) ~= 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
redis.call('SREM', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[3], KEYS[4], KEYS[5], KEYS[7])
return 1
