-- Names a part and its batches before anything is written: a crash repeats this grouping, never another.
-- KEYS: 1 drained  2 parts | ARGV: 1 part id  2 most batches
local ids = redis.call('LRANGE', KEYS[1], 0, tonumber(ARGV[2]) - 1)
if #ids == 0 then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], cjson.encode(ids))
redis.call('LTRIM', KEYS[1], #ids, -1)
return #ids
