-- A worker takes a rung batch. What the last holder had reserved for calls in flight is presumed spent.
-- KEYS: 1 batch  2 journal  3 run | ARGV: 1 epoch  2 holder
-- Returns {head, payload, lanes, lane, target, journal, started_ms, cancel} or {} when the batch is not ours to run.
local b = redis.call('HMGET', KEYS[1], 'epoch', 'state', 'holder')
if b[1] ~= ARGV[1] or b[2] ~= 'rung' or (b[3] ~= '' and b[3] ~= ARGV[2]) then return {} end
redis.call('HSET', KEYS[1], 'holder', ARGV[2])
redis.call('HINCRBY', KEYS[1], 'tries', 1)
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  if string.sub(all[i], 1, 2) == 'o:' then
    local scope, held = string.sub(all[i], 3), tonumber(all[i + 1])
    if held ~= 0 then
      redis.pcall('HINCRBY', scope, 'reserved', string.format('%.0f', -held))
      redis.pcall('HINCRBY', scope, 'spent', string.format('%.0f', held))
    end
    redis.call('HDEL', KEYS[1], all[i])
  end
end
local f = redis.call('HMGET', KEYS[1], 'head', 'payload', 'lanes', 'lane', 'target')
local r = KEYS[3] and redis.call('HMGET', KEYS[3], 'started_ms', 'cancel') or {}
return {f[1], f[2], f[3], f[4], f[5], redis.call('LRANGE', KEYS[2], 0, -1), r[1] or '', r[2] or ''}
