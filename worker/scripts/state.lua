-- Adds what one worker learned of a target to what the others said; only the fields that it names change.
-- KEYS: 1 targets (hash name -> JSON object) | ARGV: 1 name  2 fields as a JSON object
local known, said = pcall(cjson.decode, redis.call('HGET', KEYS[1], ARGV[1]) or '{}')
if not known or type(said) ~= 'table' then said = {} end
for field, value in pairs(cjson.decode(ARGV[2])) do said[field] = value end
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(said))
return 1
