-- Batches of audit calls, made exactly once: only while they are wanted.
-- KEYS: 1 run  2 waiting  3 wake  4.. batch hashes | ARGV: 1 n counters, then name value ..., then per batch: id score head payload
local r = redis.call('HMGET', KEYS[1], 'audit_wanted', 'cancel')
if (r[1] or '0') == '0' or (r[2] or '') ~= '' then return 0 end
redis.call('HSET', KEYS[1], 'audit_wanted', '0')
local n = tonumber(ARGV[1])
local at = 2
for _ = 1, n do redis.call('HINCRBY', KEYS[1], ARGV[at], ARGV[at + 1]); at = at + 2 end
for i = 4, #KEYS do
  redis.call('HSET', KEYS[i], 'state', 'waiting', 'epoch', '0', 'lanes', 'any', 'tries', '0', 'head', ARGV[at + 2], 'payload', ARGV[at + 3])
  redis.call('ZADD', KEYS[2], ARGV[at + 1], ARGV[at])
  at = at + 4
end
redis.call('LPUSH', KEYS[3], 'x')
redis.call('LTRIM', KEYS[3], 0, 15)
return 1
