-- Gives budget scopes their limits. A limit set by hand, before or after, stays until the configuration itself says
-- something new.
-- KEYS: budget scopes | ARGV: 1 seconds to keep, then the configured limit of each scope
for i = 1, #KEYS do
  local was = redis.pcall('HMGET', KEYS[i], 'configured', 'limit')
  if not was.err and was[1] ~= ARGV[i + 1] then  -- another kind of value stays: it admits nothing
    local limit = (not was[1] and was[2]) or ARGV[i + 1]
    redis.call('HSET', KEYS[i], 'configured', ARGV[i + 1], 'limit', limit)
  end
  redis.call('EXPIRE', KEYS[i], ARGV[1])
end
return #KEYS
