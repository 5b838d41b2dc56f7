-- Takes the worst case of one call that belongs to no batch, in every scope or in none: spent until its true cost is known.
-- KEYS: budget scopes (as in append.lua) | ARGV: 1 amount
-- Returns 0, or the number of the first scope that it does not fit into.
for i = 1, #KEYS do
  local s = redis.pcall('HMGET', KEYS[i], 'limit', 'spent', 'reserved')
  local limit, was, held = tonumber(s[1] or ''), tonumber(s[2] or 0), tonumber(s[3] or 0)
  local open = s[1] == 'unlimited' and was and held
  if not open and not (limit and was and held and was + held + tonumber(ARGV[1]) <= limit) then return i end
end
for i = 1, #KEYS do redis.call('HINCRBY', KEYS[i], 'spent', ARGV[1]) end
return 0
