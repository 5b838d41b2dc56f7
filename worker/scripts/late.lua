-- Outcomes of a fenced worker's calls: into the journal for the ledger while the batch lives, or while its journal waits for
-- one that Redis forgot (again.lua); once it is settled, the `lost` row written at the upper bound already covers them.
-- KEYS: 1 batch  2 journal | ARGV: 1 entries
if redis.call('EXISTS', KEYS[1], KEYS[2]) == 0 then return 0 end
redis.call('RPUSH', KEYS[2], ARGV[1])
local left_ms = redis.call('PTTL', KEYS[1])
if left_ms > 0 then redis.call('PEXPIRE', KEYS[2], left_ms) end  -- its run was set aside: it goes with its batch
return 1
