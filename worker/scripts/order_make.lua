-- An order with a provider is written down, with the given batches that are to be its parts, before any of it is sent.
-- KEYS: 1 lease  2 orders  3 order  4.. batches
-- ARGV: 1 by whom the lease must be held ('' when it is said again)  2 tag  3 owner  4 what is known of it, then the batches' epochs
-- Returns 1, or 0 when a batch is not given any more, or the orders are another's; the same again answers the same.
if ARGV[1] ~= '' and redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if redis.call('EXISTS', KEYS[3]) == 1 then return 1 end
for i = 4, #KEYS do
  local b = redis.call('HMGET', KEYS[i], 'epoch', 'state', 'lane')
  if b[1] ~= ARGV[i + 1] or b[2] ~= 'rung' or b[3] ~= 'provider_batch' then return 0 end
end
for i = 4, #KEYS do redis.call('HSET', KEYS[i], 'holder', ARGV[3]) end
redis.call('HSET', KEYS[3], 'about', ARGV[4], 'state', 'making')
redis.call('SADD', KEYS[2], ARGV[2])
return 1
