-- A run that was cancelled or expired: its waiting batches go to settle as they are.
-- KEYS: 1 waiting  2 drained  3 run | ARGV: 1 batch key prefix
if (redis.call('HGET', KEYS[3], 'cancel') or '') == '' then return 0 end  -- resumed meanwhile
local ids = redis.call('ZRANGE', KEYS[1], 0, -1)
for _, id in ipairs(ids) do
  redis.call('HINCRBY', ARGV[1] .. id, 'epoch', 1)
  redis.call('HSET', ARGV[1] .. id, 'state', 'drained')
  redis.call('RPUSH', KEYS[2], id)
end
redis.call('DEL', KEYS[1])
return #ids
