-- A run that was cancelled or expired, or waits for nothing but audits: its waiting batches go to settle as they are.
-- KEYS: 1 waiting  2 drained  3 run | ARGV: 1 batch key prefix  2 'audits' when only those are left
local r = redis.call('HMGET', KEYS[3], 'cancel', 'open', 'audit_open')
local audits = ARGV[2] == 'audits' and tonumber(r[2] or 0) == tonumber(r[3] or 0)
if (r[1] or '') == '' and not audits then return 0 end  -- resumed meanwhile
if ARGV[2] == 'audits' and redis.call('EXISTS', KEYS[3]) == 1 then redis.call('HSET', KEYS[3], 'audit_wanted', '0') end
local ids = redis.call('ZRANGE', KEYS[1], 0, -1)
for _, id in ipairs(ids) do
  if redis.call('EXISTS', ARGV[1] .. id) == 1 then  -- a name without a batch goes
    redis.call('HINCRBY', ARGV[1] .. id, 'epoch', 1)
    redis.call('HSET', ARGV[1] .. id, 'state', 'drained')
    redis.call('RPUSH', KEYS[2], id)
  end
end
redis.call('DEL', KEYS[1])
return #ids
