-- Calls of batches that nobody settles, in the budgets: each once, however often this is said.
-- KEYS: 1 counted  2.. budget scopes of one day | ARGV: 1 seconds to remember them, then call and nano-dollars ...
-- Returns what was new.
local new = 0
for i = 2, #ARGV, 2 do
  if redis.call('SADD', KEYS[1], ARGV[i]) == 1 then new = new + tonumber(ARGV[i + 1]) end
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
if new > 0 then
  for i = 2, #KEYS do  -- a day that is forgotten needs no wall
    if redis.call('EXISTS', KEYS[i]) == 1 then redis.pcall('HINCRBY', KEYS[i], 'spent', string.format('%.0f', new)) end
  end
end
return new
