-- An order that is gone, or that cannot be read, is no order: unless it was said again meanwhile (worker/again.py).
-- KEYS: 1 orders  2 order | ARGV: 1 tag  2 seconds to keep what cannot be read, 0 when it was gone
if ARGV[2] == '0' and redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
if ARGV[2] ~= '0' then redis.call('EXPIRE', KEYS[2], ARGV[2]) end
return redis.call('SREM', KEYS[1], ARGV[1])
