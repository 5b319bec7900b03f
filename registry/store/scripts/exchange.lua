-- Leave what a replica says of itself, and take what the others have left lately; what is older goes.
-- KEYS: states    ARGV: replica, bytes, time in ms for which it is of interest
-- Returns replica, bytes, replica, bytes, ... of the others.
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now_ms) .. ' ' .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
local all = redis.call('HGETALL', KEYS[1])
local others = {}
for i = 1, #all, 2 do
  local said_ms, space = string.match(all[i + 1], '^(%d+)() ')
  if not said_ms or now_ms - tonumber(said_ms) > tonumber(ARGV[3]) then
    redis.call('HDEL', KEYS[1], all[i])
  elseif all[i] ~= ARGV[1] then
    others[#others + 1] = all[i]
    others[#others + 1] = string.sub(all[i + 1], space + 1)
  end
end
return others
