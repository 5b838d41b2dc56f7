-- Something that is said of a run, while it is still as it was seen: a run that has ended, gone on or gone since is left alone.
-- KEYS: 1 run | ARGV: 1 statuses that it may have, each between blanks  2 n fields as they were seen, then field value ... ('' none),
--       then field value ... to say
-- Returns 1, or 0 when nothing was said.
local status = redis.call('HGET', KEYS[1], 'status')
if not status or not string.find(ARGV[1], ' ' .. status .. ' ', 1, true) then return 0 end
local at = 3 + 2 * tonumber(ARGV[2])
for i = 3, at - 1, 2 do
  if (redis.call('HGET', KEYS[1], ARGV[i]) or '') ~= ARGV[i + 1] then return 0 end
end
redis.call('HSET', KEYS[1], unpack(ARGV, at))
return 1
