-- An order has been read back, or nothing is left of it: forgotten, by the worker that looks after the orders.
-- KEYS: 1 lease  2 orders  3 order  4 its lines | ARGV: 1 owner  2 tag
-- Returns 0 when the orders are another's by now.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SREM', KEYS[2], ARGV[2])
redis.call('DEL', KEYS[3], KEYS[4])
return 1
