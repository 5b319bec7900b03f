-- Put a note that expires in the place of the one that the caller has seen.
-- KEYS: note, index of notes    ARGV: name, note seen ("": none), note ("": none any more), ms that it lasts, most notes
-- Returns 1, or 0 when another note stands there. Where there are too many, a tenth of them goes, soonest to end first.
local seen = redis.call('GET', KEYS[1]) or ''
if seen ~= ARGV[2] then
  return 0
end
if ARGV[3] == '' then
  redis.call('DEL', KEYS[1])
  redis.call('SREM', KEYS[2], ARGV[1])
  return 1
end
local most = tonumber(ARGV[5])
if redis.call('SADD', KEYS[2], ARGV[1]) == 1 and redis.call('SCARD', KEYS[2]) > most then
  local before = string.sub(KEYS[1], 1, #KEYS[1] - #ARGV[1])
  local living = {}
  for _, name in ipairs(redis.call('SMEMBERS', KEYS[2])) do
    local left = redis.call('PTTL', before .. name)
    if left > 0 then
      living[#living + 1] = {left, name}
    elseif name ~= ARGV[1] then
      redis.call('SREM', KEYS[2], name)
    end
  end
  if #living >= most then
    table.sort(living, function(a, b) return a[1] < b[1] end)
    for i = 1, #living - most + math.ceil(most / 10) do
      redis.call('DEL', before .. living[i][2])
      redis.call('SREM', KEYS[2], living[i][2])
    end
  end
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
return 1
