-- Followers that were asked themselves have ended: their names go, unless the run was begun again since, and wants them anew.
-- KEYS: 1 run  2 promoted | ARGV: 1 generation as it was seen  2.. rows
if (redis.call('HGET', KEYS[1], 'generation') or '') ~= ARGV[1] then return 0 end
return redis.call('HDEL', KEYS[2], unpack(ARGV, 2))
