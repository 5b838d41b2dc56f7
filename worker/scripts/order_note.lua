-- What has become of an order. One that is not there any more has ended.
-- KEYS: 1 lease  2 order | ARGV: 1 by whom the lease must be held ('' when it is said again), then field value ...
if ARGV[1] ~= '' and redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
redis.call('HSET', KEYS[2], unpack(ARGV, 2))
return 1
