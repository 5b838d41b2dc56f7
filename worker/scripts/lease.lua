-- Takes or renews a named lease. KEYS: 1 lease | ARGV: 1 owner  2 lease_ms  3 given: only if it is still held by this owner
-- Returns 1 when it is ours.
local owner = redis.call('GET', KEYS[1])
if ARGV[3] and not owner then return 0 end
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
