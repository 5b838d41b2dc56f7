-- The part exists: forget its batches. Repeating it changes nothing.
-- KEYS: 1 run  2 parts  3 wake
-- ARGV: 1 part id  2 its batches as they were read  3 batch key prefix  4 journal key prefix  5 rows  6 payload bytes
--       7 rows that ended without an answer  8 batches of audit calls  9.. length of each journal as read
-- Returns -1 when a journal has grown since (a late call, a worker that said its tail again): read it again.
local raw = redis.call('HGET', KEYS[2], ARGV[1])
if raw ~= ARGV[2] then return 0 end  -- finished, or a Redis that was set back gave its name to others
local ids = cjson.decode(raw)
for i, id in ipairs(ids) do
  if redis.call('LLEN', ARGV[4] .. id) ~= tonumber(ARGV[8 + i]) then return -1 end
end
for _, id in ipairs(ids) do
  local all = redis.call('HGETALL', ARGV[3] .. id)
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 2) == 'o:' and tonumber(all[i + 1]) ~= 0 then
      redis.pcall('HINCRBY', string.sub(all[i], 3), 'reserved', string.format('%.0f', -tonumber(all[i + 1])))
      redis.pcall('HINCRBY', string.sub(all[i], 3), 'spent', all[i + 1])
    end
  end
  redis.call('DEL', ARGV[3] .. id, ARGV[4] .. id)
end
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HINCRBY', KEYS[1], 'open', -#ids)
redis.call('HINCRBY', KEYS[1], 'settled', ARGV[5])
redis.call('HINCRBY', KEYS[1], 'held_rows', -tonumber(ARGV[5]))
redis.call('HINCRBY', KEYS[1], 'held_bytes', -tonumber(ARGV[6]))
if tonumber(ARGV[7]) > 0 then redis.call('HINCRBY', KEYS[1], 'fallen', ARGV[7]) end
if tonumber(ARGV[8]) > 0 then redis.call('HINCRBY', KEYS[1], 'audit_open', -tonumber(ARGV[8])) end
redis.call('LPUSH', KEYS[3], 'x')
redis.call('LTRIM', KEYS[3], 0, 15)
return #ids
