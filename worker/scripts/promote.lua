-- Followers whose leader has no answer for them are to be asked themselves; each is wanted once.
-- KEYS: 1 run  2 promoted | ARGV: rows
-- Returns how many are new.
local r = redis.call('HMGET', KEYS[1], 'status', 'cancel')
if (r[2] or '') ~= '' or not string.find(' validating in_progress finalizing ', ' ' .. (r[1] or '?') .. ' ', 1, true) then return 0 end
local new = 0
for i = 1, #ARGV do new = new + redis.call('HSETNX', KEYS[2], ARGV[i], 'w') end
if new > 0 then redis.call('HINCRBY', KEYS[1], 'wanted', new) end
return new
