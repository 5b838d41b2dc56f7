-- Shares a target's slots between workers: each says what it could use and gets a leased block, by max-min fairness
-- (whoever wants less than an equal share gets it all; what is left is shared equally by the others).
-- KEYS: 1 holders (hash token -> "granted want expiry_ms") | ARGV: 1 token  2 want  3 in use  4 cap  5 lease_ms
-- Returns {granted, aim, others}: the slots that are ours now (never below what is in use; the sum never above the cap, but for
-- a cap that was lowered), how many we should use: fewer when others have less than their share; and what the others have.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local me, want, used, cap, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local all = redis.call('HGETALL', KEYS[1])
local others, held, wants = 0, 0, { { want, me } }
for i = 1, #all, 2 do
  local g, w, e = string.match(all[i + 1], '^(%d+) (%d+) (%d+)$')
  e = tonumber(e)
  if not e or e <= now or e > now + 10 * lease then redis.call('HDEL', KEYS[1], all[i])  -- over, or nothing of ours
  elseif all[i] == me then held = tonumber(g)
  else
    others = others + tonumber(g)
    wants[#wants + 1] = { tonumber(w), all[i] }
  end
end
table.sort(wants, function(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end)
local left, share = cap, 0
for i = 1, #wants do
  local given = math.min(wants[i][1], math.floor(left / (#wants - i + 1)))
  left = left - given
  if wants[i][2] == me then share = given end
end
local aim = math.max(0, math.min(share, cap - others))
local grant = math.max(aim, math.min(used, held))
if want == 0 and grant == 0 then redis.call('HDEL', KEYS[1], me)
else redis.call('HSET', KEYS[1], me, string.format('%d %d %d', grant, want, now + lease)) end
redis.call('PEXPIRE', KEYS[1], lease * 10)
return {grant, aim, others}
