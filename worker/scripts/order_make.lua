-- An order with a provider is written down, with the given batches that are to be its parts, before any of it is sent.
-- KEYS: 1 orders  2 order  3.. batches | ARGV: 1 tag  2 owner  3 what is known of it, then the batches' epochs
-- Returns 1, or 0 when a batch is not given any more; the same again answers the same.
if redis.call('EXISTS', KEYS[2]) == 1 then return 1 end
for i = 3, #KEYS do
  local b = redis.call('HMGET', KEYS[i], 'epoch', 'state', 'lane')
  if b[1] ~= ARGV[i + 1] or b[2] ~= 'rung' or b[3] ~= 'provider_batch' then return 0 end
end
for i = 3, #KEYS do redis.call('HSET', KEYS[i], 'holder', ARGV[2]) end
redis.call('HSET', KEYS[2], 'about', ARGV[3], 'state', 'making')
redis.call('SADD', KEYS[1], ARGV[1])
return 1
