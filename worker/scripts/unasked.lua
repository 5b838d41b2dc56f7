-- Followers that were to be asked and whose source cannot be read any more: they share their leader's fate.
-- KEYS: 1 promoted  2 run | ARGV: rows
-- Returns how many that were.
local gone = 0
for i = 1, #ARGV do
  if redis.call('HGET', KEYS[1], ARGV[i]) == 'w' then
    redis.call('HSET', KEYS[1], ARGV[i], 'x')
    gone = gone + 1
  end
end
if gone > 0 then redis.call('HINCRBY', KEYS[2], 'wanted', -gone) end
return gone
