-- The journal that orphan_take.lua took is in the ledger. Where its batch is still there, since its run was set aside, the journal
-- stays as long as the batch, and its name until the run's results are written; what is reserved for it counts as spent.
-- KEYS: 1 lease  2 orphans  3 batch  4 journal  5 journal while it is booked | ARGV: 1 owner  2 id  3 its length as it was booked
-- Returns 0 when another settles.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local kind = redis.call('TYPE', KEYS[3]).ok
if kind ~= 'hash' or redis.call('TTL', KEYS[3]) < 0 then  -- gone, or made again: the next journal is its own
  redis.call('DEL', KEYS[5])
  if kind == 'hash' or redis.call('EXISTS', KEYS[4]) == 0 then redis.call('HDEL', KEYS[2], ARGV[2]) end
  return 1
end
local all = redis.call('HGETALL', KEYS[3])
for i = 1, #all, 2 do
  if string.sub(all[i], 1, 2) == 'o:' then
    local held = tonumber(all[i + 1])
    if held and held ~= 0 then
      redis.pcall('HINCRBY', string.sub(all[i], 3), 'reserved', string.format('%.0f', -held))
      redis.pcall('HINCRBY', string.sub(all[i], 3), 'spent', string.format('%.0f', held))
    end
    redis.call('HDEL', KEYS[3], all[i])
  end
end
redis.call('HSET', KEYS[3], 'booked', ARGV[3])
return 1
