-- A batch that cannot be read leaves its lane: its rows end as they are, with the reason. A name without a batch goes.
-- KEYS: 1 batch  2 waiting  3 rung  4 drained  5 wake  6 poison | ARGV: 1 id  2 reason  3 seconds to keep the reason
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
local kind = redis.call('TYPE', KEYS[1]).ok
if kind == 'none' then return 0 end
local left_ms = redis.call('PTTL', KEYS[1])
if kind ~= 'hash' then redis.call('DEL', KEYS[1]) end
if redis.call('HGET', KEYS[1], 'state') == 'drained' then return 0 end
local epoch = tonumber(redis.call('HGET', KEYS[1], 'epoch') or 0) or 0
redis.call('HSET', KEYS[1], 'epoch', string.format('%.0f', epoch + 1), 'state', 'drained', 'holder', '', 'poison', ARGV[2])
for _, part in ipairs({'head', 'payload'}) do redis.call('HSETNX', KEYS[1], part, '') end  -- else its part waits for it for ever
if left_ms > 0 then redis.call('PEXPIRE', KEYS[1], left_ms) end
if redis.call('TTL', KEYS[1]) >= 0 then return 1 end  -- its run was set aside too: nobody settles it (settle/orphans.py)
redis.call('RPUSH', KEYS[4], ARGV[1])
redis.call('HSET', KEYS[6], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[6], ARGV[3])
redis.call('LPUSH', KEYS[5], 'x')
redis.call('LTRIM', KEYS[5], 0, 15)
return 1
