-- A run that is in its record and that a Redis which lost its last seconds does not know: registered as it was.
-- KEYS: 1 run  2 fingerprints  3 open runs  4 all runs  5 wake  6 the client's runs | ARGV: 1 run id  2 fingerprint  3 created_ms, then field value ...
-- Returns 0 when it is there, or when the same command was given again since.
if redis.call('HEXISTS', KEYS[1], 'status') == 1 then return 0 end
local other = redis.call('HGET', KEYS[2], ARGV[2])
if other and tonumber(redis.call('ZSCORE', KEYS[4], other) or 0) > tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
redis.call('HSET', KEYS[2], ARGV[2], ARGV[1])
redis.call('SADD', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[4], 'NX', ARGV[3], ARGV[1])
redis.call('ZADD', KEYS[6], 'NX', ARGV[3], ARGV[1])
redis.call('LPUSH', KEYS[5], 'x')
redis.call('LTRIM', KEYS[5], 0, 15)
return 1
