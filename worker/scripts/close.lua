-- A run that was cancelled or expired, or waits for nothing but audits: its waiting batches go to settle as they are.
-- KEYS: 1 waiting  2 drained  3 run | ARGV: 1 batch key prefix  2 'audits' when only those are left
local r = redis.call('HMGET', KEYS[3], 'cancel', 'open', 'audit_open')
local audits = ARGV[2] == 'audits' and tonumber(r[2] or 0) == tonumber(r[3] or 0)
if (r[1] or '') == '' and not audits then return 0 end  -- resumed meanwhile
local ids = redis.call('ZRANGE', KEYS[1], 0, -1)
for _, id in ipairs(ids) do
  redis.call('HINCRBY', ARGV[1] .. id, 'epoch', 1)
  redis.call('HSET', ARGV[1] .. id, 'state', 'drained')
  redis.call('RPUSH', KEYS[2], id)
end
redis.call('DEL', KEYS[1])
return #ids
