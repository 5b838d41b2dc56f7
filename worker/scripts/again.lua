-- What a worker had been told was kept, said again to a Redis that may have forgotten it. Repeating it changes nothing but
-- what no batch is there for: that is kept as it was said, for the ledger, which knows what it has (worker/settle/orphans.py).
-- KEYS: 1 batch  2 journal  3 orphans  4 counted  5.. budget scopes
-- ARGV: 1 epoch  2 owner  3 number of the flush  4 entries as said  5 entries as a late worker's  6 reserved net of settled
--       7 spent  8 seconds to keep what no batch is there for  9 id of the batch  10 its head
--       11 1 when its chunk is certainly forgotten too; else a batch that is gone may have been settled, and orphan_spend.lua
--       counts what was not  12.. its calls
-- Returns 1 when it had been forgotten.
local epoch, number = tonumber(ARGV[1]), tonumber(ARGV[3])
local mark, again = 'flush:' .. (KEYS[5] or ''), 'again:' .. ARGV[2] .. ':' .. (KEYS[5] or '')
local b = redis.call('HMGET', KEYS[1], 'epoch', 'state', 'holder', mark, again)
local function spend(amount)
  if amount == 0 then return end
  for i = 5, #KEYS do redis.call('HINCRBY', KEYS[i], 'spent', string.format('%.0f', amount)) end
end
if not b[1] then
  redis.call('RPUSH', KEYS[2], ARGV[4])  -- if its chunk is prepared again as it was, commit_chunk.lua finds the journal
  redis.call('EXPIRE', KEYS[2], ARGV[8])
  redis.call('HSET', KEYS[3], ARGV[9], ARGV[10])
  redis.call('EXPIRE', KEYS[3], ARGV[8])
  if ARGV[11] == '0' or redis.call('SADD', KEYS[4], ARGV[2] .. '-' .. ARGV[3]) == 0 then return 0 end
  if #ARGV > 11 then redis.call('SADD', KEYS[4], unpack(ARGV, 12)) end
  redis.call('EXPIRE', KEYS[4], ARGV[8])
  spend(tonumber(ARGV[6]) + tonumber(ARGV[7]))
  return 1
end
local head = ARGV[2] .. '-'
local last = b[4] or ''
if string.sub(last, 1, #head) == head and tonumber(string.match(last, '^(%d+)', #head + 1)) >= number then return 0 end
if b[5] and tonumber(b[5]) >= number then return 0 end
for i = 5, #KEYS do
  if ARGV[6] ~= '0' then
    redis.call('HINCRBY', KEYS[i], 'reserved', ARGV[6])
    redis.call('HINCRBY', KEYS[1], 'o:' .. KEYS[i], ARGV[6])
  end
end
spend(tonumber(ARGV[7]))
local mine = tonumber(b[1]) < epoch or (tonumber(b[1]) == epoch and (b[3] == '' or b[3] == ARGV[2]))
redis.call('RPUSH', KEYS[2], mine and ARGV[4] or ARGV[5])
redis.call('HSET', KEYS[1], again, ARGV[3])
if tonumber(b[1]) == epoch and b[2] == 'rung' and b[3] == '' then redis.call('HSET', KEYS[1], 'holder', ARGV[2]) end
return 1
