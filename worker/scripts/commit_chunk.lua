-- Commits a prepared chunk exactly once: the cursor is compared, then batches, counters and cursor move together.
-- KEYS: 1 run  2 waiting  3 wake  4 today's uses of each rule  5.. batch hashes
-- ARGV: 1 cursor expected  2 cursor new  3 prepared 0|1  4 n counters, then name value ...,
--       n rules, then index uses most ('' no limit) ..., then per batch: id score head payload,
--       then for a run whose submitters wait: what is known of its rows by now
-- Returns 0 when the cursor has moved, or when a rule has no room left for these uses: look again. And when the source was
-- read to its end.
local run = redis.call('HMGET', KEYS[1], 'cursor', 'prepared')
if run[1] ~= ARGV[1] or run[2] == '1' then return 0 end
local tell = redis.call('HGET', KEYS[1], 'tell') or ''
local n = tonumber(ARGV[4])
local first = 6 + 2 * n
for r = 0, tonumber(ARGV[first - 1]) - 1 do
  local index, uses, most = ARGV[first + 3 * r], tonumber(ARGV[first + 3 * r + 1]), tonumber(ARGV[first + 3 * r + 2])
  if most and tonumber(redis.call('HGET', KEYS[4], index) or 0) + uses > most then return 0 end
end
redis.call('HSET', KEYS[1], 'cursor', ARGV[2], 'prepared', ARGV[3])
local at = 5
for _ = 1, n do redis.call('HINCRBY', KEYS[1], ARGV[at], ARGV[at + 1]); at = at + 2 end
local rules = tonumber(ARGV[at])
at = at + 1
for _ = 1, rules do redis.call('HINCRBY', KEYS[4], ARGV[at], ARGV[at + 1]); at = at + 3 end
if rules > 0 then redis.call('EXPIRE', KEYS[4], 259200) end
for i = 5, #KEYS do
  redis.call('HSET', KEYS[i], 'state', 'waiting', 'epoch', '0', 'lanes', 'any', 'tries', '0', 'head', ARGV[at + 2], 'payload', ARGV[at + 3])
  redis.call('PERSIST', (string.gsub(KEYS[i], ':batch:', ':journal:', 1)))  -- what again.lua kept for it
  redis.call('ZADD', KEYS[2], ARGV[at + 1], ARGV[at])
  if tell ~= '' then redis.call('HSET', KEYS[i], 'tell', tell) end
  at = at + 4
end
if tell ~= '' and (ARGV[at] or '') ~= '' then redis.call('PUBLISH', tell, ARGV[at]) end
redis.call('LPUSH', KEYS[3], 'x')
redis.call('LTRIM', KEYS[3], 0, 15)
return 1
