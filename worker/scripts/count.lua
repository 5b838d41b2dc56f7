-- Live counters of a run, for the display; a run that Redis forgot must not come back as counters alone.
-- KEYS: 1 run | ARGV: counter delta ...
if redis.call('HEXISTS', KEYS[1], 'status') == 0 then return 0 end
for i = 1, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
