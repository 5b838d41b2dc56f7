-- Gives budget scopes their limits. A limit set by hand stays until the configuration itself says something new.
-- KEYS: budget scopes | ARGV: 1 seconds to keep, then the configured limit of each scope
for i = 1, #KEYS do
  if redis.call('HGET', KEYS[i], 'configured') ~= ARGV[i + 1] then
    redis.call('HSET', KEYS[i], 'configured', ARGV[i + 1], 'limit', ARGV[i + 1])
  end
  redis.call('EXPIRE', KEYS[i], ARGV[1])
end
return #KEYS
