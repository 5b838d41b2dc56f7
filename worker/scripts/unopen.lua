-- A run that is not open leaves the set of those that are; one that was begun again meanwhile stays.
-- KEYS: 1 run  2 open runs | ARGV: 1 id  2 open statuses, each between blanks
local status = redis.pcall('HGET', KEYS[1], 'status')
if type(status) == 'string' and string.find(ARGV[2], ' ' .. status .. ' ', 1, true) then return 0 end
return redis.call('SREM', KEYS[2], ARGV[1])
