-- Appends to a batch's journal under its epoch; reserves and settles money in every scope in the same step.
-- KEYS: 1 batch  2 journal  3.. budget scopes (hash: limit, spent, reserved; nano-dollars)
-- ARGV: 1 epoch  2 entries ('' none)  3 reserved before, now settled  4 actually spent  5 owner-number of this flush,
--       then per intent: amount entry
-- Returns {-1} when fenced (another epoch, another holder, or none is needed any more), else {1, for each intent `1` when it was
-- admitted and `0` when a scope has no room for it, scope that refused or 0}; the same number again answers the same. One that
-- does not fit holds up no other.
local mark = 'flush:' .. (KEYS[3] or '')  -- a batch may have news of two days in one flush
local b = redis.call('HMGET', KEYS[1], 'epoch', mark, 'holder', 'tell', 'lane', 'state')
local owner = string.match(ARGV[5], '^(.*)%-%d+$')
if b[1] ~= ARGV[1] or b[6] == 'drained' or (b[3] and b[3] ~= '' and b[3] ~= owner) then return {-1, '', 0} end
if b[3] == '' then redis.call('HSET', KEYS[1], 'holder', owner) end  -- a Redis that was killed forgot the claim
if b[2] then
  local last, was_admitted, was_tight = string.match(b[2], '(%S+) (%d*) (%d+)')
  if last == ARGV[5] then return {1, was_admitted, tonumber(was_tight)} end
end
local settled, spent = tonumber(ARGV[3]), tonumber(ARGV[4])
local wants = #ARGV > 5
local room, tight = nil, 0
if wants then
  for i = 3, #KEYS do
    local s = redis.pcall('HMGET', KEYS[i], 'limit', 'spent', 'reserved')
    local limit, was, held = tonumber(s[1] or ''), tonumber(s[2] or 0), tonumber(s[3] or 0)
    local left = 0  -- a scope that nobody set, or that cannot be read, admits nothing
    if s[1] == 'unlimited' and was and held then left = nil
    elseif limit and was and held then left = limit - was - spent - held + settled end
    if left and (room == nil or left < room) then room, tight = left, i - 2 end
  end
end
local out, total, admitted, refused = {}, 0, {}, false
if ARGV[2] ~= '' then out[1] = ARGV[2] end
for a = 6, #ARGV, 2 do
  local amount = tonumber(ARGV[a])
  local fits = not room or total + amount <= room
  admitted[#admitted + 1] = fits and '1' or '0'
  if fits then
    total = total + amount
    out[#out + 1] = ARGV[a + 1]
  else refused = true end
end
local moved = string.format('%.0f', total - settled)
for i = 3, #KEYS do
  if total ~= settled then
    redis.pcall('HINCRBY', KEYS[i], 'reserved', moved)
    redis.call('HINCRBY', KEYS[1], 'o:' .. KEYS[i], moved)
  end
  if spent > 0 then redis.pcall('HINCRBY', KEYS[i], 'spent', ARGV[4]) end
end
if #out > 0 then redis.call('RPUSH', KEYS[2], unpack(out)) end
if b[4] and ARGV[2] ~= '' then  -- somebody waits for these answers
  redis.call('PUBLISH', b[4], 'a' .. string.match(KEYS[1], ':batch:([^.:]+)') .. ' ' .. (b[5] or '') .. '\n' .. ARGV[2])
end
if not refused then tight = 0 end
local told = table.concat(admitted)
redis.call('HSET', KEYS[1], mark, ARGV[5] .. ' ' .. told .. ' ' .. tight)
return {1, told, tight}
