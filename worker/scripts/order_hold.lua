-- A worker takes an order's parts: whoever held them may write nothing into their journals from now on. What is reserved
-- for them stays reserved, since the provider is still at it.
-- KEYS: batches | ARGV: 1 owner, then their epochs
-- Returns for each batch {head, payload, lanes}, or {} when it is no part any more.
local found = {}
for i = 1, #KEYS do
  local b = redis.call('HMGET', KEYS[i], 'epoch', 'state', 'head', 'payload', 'lanes')
  found[i] = {}
  if b[1] == ARGV[i + 1] and b[2] == 'rung' then
    redis.call('HSET', KEYS[i], 'holder', ARGV[1])
    found[i] = { b[3], b[4], b[5] }
  end
end
return found
