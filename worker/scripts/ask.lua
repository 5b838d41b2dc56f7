-- Batches of promoted followers, made exactly once: every row must still be wanted, then rows, counters and batches move.
-- KEYS: 1 run  2 waiting  3 wake  4 promoted  5.. batch hashes
-- ARGV: 1 n rows, then rows, n counters, then name value ..., then per batch: id score head payload
local r = redis.call('HMGET', KEYS[1], 'status', 'cancel', 'tell')
if (r[2] or '') ~= '' or not string.find(' validating in_progress finalizing ', ' ' .. (r[1] or '?') .. ' ', 1, true) then return 0 end
local rows = tonumber(ARGV[1])
for i = 2, rows + 1 do
  if redis.call('HGET', KEYS[4], ARGV[i]) ~= 'w' then return 0 end
end
for i = 2, rows + 1 do redis.call('HSET', KEYS[4], ARGV[i], 'a') end
redis.call('HINCRBY', KEYS[1], 'wanted', -rows)
local at = rows + 2
local n = tonumber(ARGV[at])
at = at + 1
for _ = 1, n do redis.call('HINCRBY', KEYS[1], ARGV[at], ARGV[at + 1]); at = at + 2 end
for i = 5, #KEYS do
  redis.call('HSET', KEYS[i], 'state', 'waiting', 'epoch', '0', 'lanes', 'any', 'tries', '0', 'head', ARGV[at + 2], 'payload', ARGV[at + 3])
  redis.call('ZADD', KEYS[2], ARGV[at + 1], ARGV[at])
  if (r[3] or '') ~= '' then redis.call('HSET', KEYS[i], 'tell', r[3]) end
  at = at + 4
end
redis.call('LPUSH', KEYS[3], 'x')
redis.call('LTRIM', KEYS[3], 0, 15)
return 1
