-- Of a batch that waits after some of its prompts were answered, the answered ones go to settle; the others wait on as a batch of
-- their own, which has no journal yet.
-- KEYS: 1 batch  2 journal  3 run  4 waiting  5 drained  6 the others' batch
-- ARGV: 1 id  2 epoch  3 length of the journal as read  4 id of the others' batch  5 head and 6 payload of the answered ones
--       7 head and 8 payload of the others  9 bytes that both payloads have more than the one had
-- Returns 1, or 0 when the batch is not as it was seen, or its run was stopped.
local r = redis.call('HMGET', KEYS[3], 'status', 'cancel')
if (r[2] or '') ~= '' or not string.find(' validating in_progress finalizing ', ' ' .. (r[1] or '?') .. ' ', 1, true) then return 0 end
local b = redis.call('HMGET', KEYS[1], 'epoch', 'state', 'lanes', 'real_time', 'refused', 'released_ms', 'tell')
if b[1] ~= ARGV[2] or b[2] ~= 'waiting' or redis.call('LLEN', KEYS[2]) ~= tonumber(ARGV[3]) then return 0 end
local score = redis.call('ZSCORE', KEYS[4], ARGV[1])
if not score or redis.call('EXISTS', KEYS[6]) == 1 then return 0 end
redis.call('HSET', KEYS[6], 'state', 'waiting', 'epoch', '0', 'tries', '0', 'lanes', b[3] or 'any', 'head', ARGV[7], 'payload', ARGV[8])
for i, field in ipairs({'real_time', 'refused', 'released_ms', 'tell'}) do
  if (b[i + 3] or '') ~= '' then redis.call('HSET', KEYS[6], field, b[i + 3]) end
end
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('ZADD', KEYS[4], score, ARGV[4])
redis.call('HINCRBY', KEYS[1], 'epoch', 1)  -- who slept since says nothing any more
redis.call('HSET', KEYS[1], 'state', 'drained', 'head', ARGV[5], 'payload', ARGV[6])
redis.call('HDEL', KEYS[1], 'left')
redis.call('RPUSH', KEYS[5], ARGV[1])
redis.call('HINCRBY', KEYS[3], 'open', 1)
redis.call('HINCRBY', KEYS[3], 'held_bytes', ARGV[9])
return 1
