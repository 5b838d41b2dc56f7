-- How many segments of an inbox run the chunk at a cursor may read: said once, so that whoever writes that chunk writes the same.
-- KEYS: 1 run | ARGV: 1 cursor  2 segments by now
-- Returns the number, or -1 when the cursor has moved.
local r = redis.call('HMGET', KEYS[1], 'cursor', 'upto')
if r[1] ~= ARGV[1] then return -1 end
local said, cursor = string.match(r[2] or '', '^(%d+) (.*)$')
if said and cursor == ARGV[1] then return tonumber(said) end
redis.call('HSET', KEYS[1], 'upto', ARGV[2] .. ' ' .. ARGV[1])
return tonumber(ARGV[2])
