-- Which reuses of a run are audited: chosen once, counted for their routes' day in the same step.
-- KEYS: 1 run  2 the day's audits
-- ARGV: 1 open statuses, each between blanks  2 plan  3 how many  4 seconds to keep the day  5 day, then counter delta ...
local r = redis.call('HMGET', KEYS[1], 'status', 'audit')
if not r[1] or (r[2] or '') ~= '' or not string.find(ARGV[1], ' ' .. r[1] .. ' ', 1, true) then return 0 end
for i = 6, #ARGV, 2 do redis.call('HINCRBY', KEYS[2], ARGV[i], ARGV[i + 1]) end
redis.call('EXPIRE', KEYS[2], ARGV[4])
redis.call('HSET', KEYS[1], 'audit', ARGV[2], 'audit_wanted', ARGV[3], 'audit_day', ARGV[5])
return 1
