-- The journal of a batch that nobody settles, taken out of everybody's reach before any of it is booked: what is booked twice is
-- the same, and what is said from now on is another journal, booked after this one.
-- KEYS: 1 lease  2 orphans  3 batch  4 journal  5 journal while it is booked | ARGV: 1 owner  2 id  3 seconds to keep it
-- Returns {entries, head, payload}, the last two of a batch whose run was set aside; {} when there is nothing to book, {0} when
-- there is nothing yet, since its calls may be out; 0 when another settles.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local kind = redis.call('TYPE', KEYS[3]).ok
local b = kind == 'hash' and redis.call('HMGET', KEYS[3], 'state', 'head', 'payload') or {}
if redis.call('EXISTS', KEYS[5]) == 0 then
  if kind ~= 'none' and redis.call('TTL', KEYS[3]) < 0 then  -- made again: it is settled like any other
    redis.call('HDEL', KEYS[2], ARGV[2])
    return {}
  end
  if b[1] == 'rung' then return {0} end
  if redis.call('EXISTS', KEYS[4]) == 0 then
    if kind == 'none' then redis.call('HDEL', KEYS[2], ARGV[2]) end
    return {}
  end
  redis.call('RENAME', KEYS[4], KEYS[5])
  redis.call('EXPIRE', KEYS[5], ARGV[3])
end
return {redis.call('LRANGE', KEYS[5], 0, -1), b[2] or '', b[3] or ''}
