-- Takes a waiting batch for a lane; the epoch fences whoever held it before.
-- KEYS: 1 batch  2 waiting  3 rung | ARGV: 1 id  2 lane  3 target  4 lanes that it may use after this one
-- Returns the new epoch, or 0 when the batch is not waiting.
if redis.call('ZREM', KEYS[2], ARGV[1]) == 0 then return 0 end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
-- By the clock: a Redis that lost its last second never gives an epoch, and so a call's id, twice.
local epoch = math.max(tonumber(redis.call('HGET', KEYS[1], 'epoch') or 0) + 1, now)
local text = string.format('%.0f', epoch)
redis.call('HSET', KEYS[1], 'epoch', text, 'state', 'rung', 'lane', ARGV[2], 'target', ARGV[3], 'lanes', ARGV[4], 'holder', '')
redis.call('ZADD', KEYS[3], now, ARGV[1])
return epoch
