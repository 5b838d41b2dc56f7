-- The journal of a batch that nobody settles, taken out of everybody's reach before any of it is booked: what is booked twice is
-- the same, and what is said from now on is another journal, which is taken behind this one.
-- KEYS: 1 lease  2 orphans  3 batch  4 journal  5 journal while it is booked | ARGV: 1 owner  2 id  3 seconds to keep it
-- Returns {entries, head, payload}, the last two of a batch whose run was set aside; {} when there is nothing new to book, {0} when
-- there is nothing yet, since its calls may be out; 0 when another settles.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local kind, left_ms = redis.call('TYPE', KEYS[3]).ok, redis.call('PTTL', KEYS[3])
local taken = redis.call('EXISTS', KEYS[5]) == 1
local b = {}
if kind ~= 'none' and left_ms < 0 then  -- made again: it is settled like any other, with its journal
  if not taken then
    redis.call('HDEL', KEYS[2], ARGV[2])
    return {}
  end
else
  if kind == 'hash' then b = redis.call('HMGET', KEYS[3], 'state', 'head', 'payload', 'booked') end
  if b[1] == 'rung' then return {0} end
  if redis.call('EXISTS', KEYS[4]) == 1 then
    if taken then
      for _, entries in ipairs(redis.call('LRANGE', KEYS[4], 0, -1)) do redis.call('RPUSH', KEYS[5], entries) end
      redis.call('DEL', KEYS[4])
    else
      redis.call('RENAME', KEYS[4], KEYS[5])
    end
    redis.call('EXPIRE', KEYS[5], ARGV[3])
    taken = true
  end
  if not taken then
    if kind == 'none' then redis.call('HDEL', KEYS[2], ARGV[2]) end
    return {}
  end
  if left_ms > 0 then redis.call('PEXPIRE', KEYS[5], left_ms) end  -- its part is made of all of it, however late more is said
  if b[4] and tonumber(b[4]) == redis.call('LLEN', KEYS[5]) then return {} end
end
return {redis.call('LRANGE', KEYS[5], 0, -1), b[2] or '', b[3] or ''}
