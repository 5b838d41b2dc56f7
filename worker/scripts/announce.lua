-- A notice that is to be delivered; one that is known, delivered or not, stays as it is.
-- KEYS: 1 hooks  2 notice | ARGV: 1 id  2 notice  3 seconds to remember it
if redis.call('HSETNX', KEYS[2], 'notice', ARGV[2]) == 0 then return 0 end
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('ZADD', KEYS[1], 0, ARGV[1])
return 1
