-- The worker that looks after the orders takes one's parts: whoever held them may write nothing into their journals from now on.
-- What is reserved for them stays reserved, since the provider is still at it.
-- KEYS: 1 lease, then batches | ARGV: 1 owner, then their epochs
-- Returns for each batch {head, payload, lanes, returns}, or {} when it is no part any more; 0 when the orders are
-- another's by now.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local found = {}
for i = 2, #KEYS do
  local b = redis.call('HMGET', KEYS[i], 'epoch', 'state', 'head', 'payload', 'lanes', 'returns')
  found[i - 1] = {}
  if b[1] == ARGV[i] and b[2] == 'rung' then
    redis.call('HSET', KEYS[i], 'holder', ARGV[1])
    found[i - 1] = { b[3], b[4], b[5], b[6] }
  end
end
return found
