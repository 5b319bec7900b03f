-- All notes that have not expired.
-- KEYS: index of notes    ARGV: what their keys begin with      Returns name, note, name, note, ...
local found = {}
for _, name in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  local note = redis.call('GET', ARGV[1] .. name)
  if note then
    found[#found + 1] = name
    found[#found + 1] = note
  else
    redis.call('SREM', KEYS[1], name)
  end
end
return found
