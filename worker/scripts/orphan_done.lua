-- The journal that orphan_take.lua took is in the ledger. Where its batch is still there, since its run was set aside, what is
-- reserved for it counts as spent, and its name stays until the run's results are written.
-- KEYS: 1 lease  2 orphans  3 batch  4 journal  5 journal while it is booked | ARGV: 1 owner  2 id
-- Returns 0 when another settles.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[5])
local all = redis.call('TYPE', KEYS[3]).ok == 'hash' and redis.call('HGETALL', KEYS[3]) or {}
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
if #all == 0 and redis.call('EXISTS', KEYS[4]) == 0 then redis.call('HDEL', KEYS[2], ARGV[2]) end
return 1
