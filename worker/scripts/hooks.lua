-- Notices whose time has come, put off meanwhile: whoever takes one and dies leaves it to the next.
-- KEYS: 1 hooks | ARGV: 1 how many  2 put off by, ms  3 prefix of a notice's key
-- Returns {notice, tries, notice, tries, ...}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])) do
  local notice = redis.pcall('HGET', ARGV[3] .. id, 'notice')
  local tried = type(notice) == 'string' and notice ~= '' and redis.pcall('HINCRBY', ARGV[3] .. id, 'tried', 1)
  if type(tried) == 'number' then
    redis.call('ZADD', KEYS[1], 'XX', now + ARGV[2], id)
    found[#found + 1] = notice
    found[#found + 1] = tried
  else  -- delivered, forgotten, or nothing of ours
    redis.call('ZREM', KEYS[1], id)
  end
end
return found
