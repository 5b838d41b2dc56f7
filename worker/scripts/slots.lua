-- Shares a target's slots between workers: each asks for what it could use and gets a leased block.
-- KEYS: 1 holders (hash token -> "granted want expiry_ms") | ARGV: 1 token  2 want  3 in use  4 cap  5 lease_ms
-- Returns the slots granted now (never below what is in use, the sum never above the cap but for a lowered cap).
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local want, used, cap, lease = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local all = redis.call('HGETALL', KEYS[1])
local others, hungry, mine_held = 0, 0, 0
for i = 1, #all, 2 do
  local g, w, e = string.match(all[i + 1], '(%d+) (%d+) (%d+)')
  if tonumber(e) <= now then redis.call('HDEL', KEYS[1], all[i])
  elseif all[i] == ARGV[1] then mine_held = tonumber(g)
  else
    others = others + tonumber(g)
    if tonumber(w) > tonumber(g) then hungry = hungry + 1 end
  end
end
local grant = math.max(0, math.min(want, cap - others))
if hungry > 0 then grant = math.min(grant, math.max(1, math.floor(cap / (hungry + 1)))) end
grant = math.max(grant, math.min(used, mine_held))
if want == 0 and grant == 0 then redis.call('HDEL', KEYS[1], ARGV[1])
else redis.call('HSET', KEYS[1], ARGV[1], string.format('%d %d %d', grant, want, now + lease)) end
redis.call('PEXPIRE', KEYS[1], lease * 10)
return grant
