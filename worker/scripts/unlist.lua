-- A batch that is on no such lane any more leaves the list of those that are; one that has come back to it meanwhile stays.
-- KEYS: 1 batch  2 rung or given | ARGV: 1 id  2 1 for the batches given to the provider_batch lane, 0 for the rung ones
local b = redis.call('HMGET', KEYS[1], 'state', 'lane')
if b[1] == 'rung' and (b[2] == 'provider_batch') == (ARGV[2] == '1') then return 0 end
return redis.call('ZREM', KEYS[2], ARGV[1])
