-- An inbox run takes no more: its time is over, it was cancelled, or its server said so. Closed first, so that nobody appends
-- while its segments are counted; then sealed, with the sources that it has for good. A segment that was refused is on the disk
-- until its server has heard of it, and is none of them: `cut_at` is the first of those (`refused` counts what models refused).
-- KEYS: 1 run | ARGV: 1 sources as JSON ('' only close)  2 how many
-- Returns 1, or 0 while it is open, when it is no open inbox, or when one of the sources was refused meanwhile.
local r = redis.call('HMGET', KEYS[1], 'inbox', 'cancel', 'cut_at')
local inbox = r[1] or ''
if inbox == '' or inbox == 'sealed' then return 0 end
if inbox ~= 'closing' then
  local t = redis.call('TIME')
  local now = t[1] * 1000 + math.floor(t[2] / 1000)
  if now <= (tonumber(inbox) or 0) and (r[2] or '') == '' then return 0 end
  redis.call('HSET', KEYS[1], 'inbox', 'closing')
end
if ARGV[1] ~= '' then
  if tonumber(ARGV[2]) > (tonumber(r[3] or '') or math.huge) then return 0 end
  redis.call('HSET', KEYS[1], 'sources', ARGV[1], 'segments', ARGV[2], 'inbox', 'sealed')
end
return 1
