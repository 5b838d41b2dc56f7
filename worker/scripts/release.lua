-- A batch leaves its lane: drained (every prompt ended), or back to waiting with the lanes it may still use.
-- KEYS: 1 batch  2 waiting  3 rung  4 drained  5 wake
-- ARGV: 1 epoch  2 id  3 drained|waiting  4 lanes  5 score  6 expected holder ('' any, 'nobody' none)
--       7 of calls that no budget had room for the smallest worst case, nano-dollars, and its lane ('' none)
--       then field value ... of what is noted of it, while it is certainly still as the caller saw it
-- Returns 1, or 0 when fenced.
local b = redis.call('HMGET', KEYS[1], 'epoch', 'state', 'holder')
local mine = ARGV[6] ~= '' and ARGV[6] ~= 'nobody'
if b[1] ~= ARGV[1] or b[2] ~= 'rung' or (mine and b[3] ~= ARGV[6]) then return 0 end
if ARGV[6] == 'nobody' and (b[3] or '') ~= '' then return 0 end
redis.call('ZREM', KEYS[3], ARGV[2])
if mine then redis.call('HSET', KEYS[1], 'tries', '0') end  -- its holder lives: not the batch's fault
if #ARGV > 7 then redis.call('HSET', KEYS[1], unpack(ARGV, 8)) end
local t = redis.call('TIME')
redis.call('HSET', KEYS[1], 'state', ARGV[3], 'lanes', ARGV[4], 'holder', '', 'released_ms', t[1] * 1000)
if ARGV[3] ~= 'drained' then
  redis.call('HSET', KEYS[1], 'refused', ARGV[7] or '')
  redis.call('HINCRBY', KEYS[1], 'epoch', 1)  -- who slept meanwhile buys nothing any more
end
if redis.call('TTL', KEYS[1]) >= 0 then return 1 end  -- its run was set aside (worker/aside.py): nobody asks for it any more
if ARGV[3] == 'drained' then
  redis.call('RPUSH', KEYS[4], ARGV[2])
else
  redis.call('ZADD', KEYS[2], ARGV[5], ARGV[2])
end
redis.call('LPUSH', KEYS[5], 'x')
redis.call('LTRIM', KEYS[5], 0, 15)
return 1
