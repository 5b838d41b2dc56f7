-- What has become of an order. One that is not there any more has ended. KEYS: 1 order | ARGV: field value ...
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
