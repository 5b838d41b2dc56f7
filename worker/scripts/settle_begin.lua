-- Names a part and its batches before anything is written: a crash repeats this grouping, never another.
-- KEYS: 1 run  2 drained  3 parts | ARGV: 1 open statuses, each between blanks  2 most batches
-- Returns its name; '' when there is nothing to settle, or the run is not open any more.
local status = redis.call('HGET', KEYS[1], 'status')
if not status or not string.find(ARGV[1], ' ' .. status .. ' ', 1, true) then return '' end
local ids = redis.call('LRANGE', KEYS[2], 0, tonumber(ARGV[2]) - 1)
if #ids == 0 then return '' end
local part = string.format('%08d', redis.call('HINCRBY', KEYS[1], 'parts', 1))
redis.call('HSET', KEYS[3], part, cjson.encode(ids))
redis.call('LTRIM', KEYS[2], #ids, -1)
return part
