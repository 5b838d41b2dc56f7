-- Outcomes of a fenced worker's calls: into the journal for the ledger while the batch lives, or while its journal waits for
-- one that Redis forgot (again.lua); once it is settled, the `lost` row written at the upper bound already covers them.
-- KEYS: 1 batch  2 journal  3 orphans, for calls that no such row covers: then they wait there for whoever settles (settle/orphans.py)
-- ARGV: 1 entries, and for those  2 id of the batch  3 its head  4 seconds to keep them
if redis.call('EXISTS', KEYS[1], KEYS[2]) == 0 then
  if #KEYS < 3 then return 0 end
  redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
  redis.call('EXPIRE', KEYS[3], ARGV[4])
  redis.call('RPUSH', KEYS[2], ARGV[1])
  redis.call('EXPIRE', KEYS[2], ARGV[4])
  return 1
end
redis.call('RPUSH', KEYS[2], ARGV[1])
local left_ms = redis.call('PTTL', KEYS[1])
if left_ms > 0 then redis.call('PEXPIRE', KEYS[2], left_ms) end  -- its run was set aside: it goes with its batch
return 1
