-- Takes or renews a named lease. KEYS: 1 lease | ARGV: 1 owner  2 lease_ms ; returns 1 when it is ours.
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
