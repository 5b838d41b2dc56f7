-- Audits that were planned and say nothing in the end are free again for the day's other runs. Once for each run.
-- KEYS: 1 run  2 the audits of the day on which they were planned
-- ARGV: counter delta ...
if redis.call('EXISTS', KEYS[1], KEYS[2]) < 2 or redis.call('HSETNX', KEYS[1], 'audit_judged', '1') == 0 then return 0 end
for i = 1, #ARGV, 2 do redis.call('HINCRBY', KEYS[2], ARGV[i], ARGV[i + 1]) end
return 1
