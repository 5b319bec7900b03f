-- How many milliseconds are left of each lease; -2 for one that does not exist.
-- KEYS: lease prefix    ARGV: MessagePack list of names
local names = cmsgpack.unpack(ARGV[1])
local left = {}
for i = 1, #names do
  left[i] = redis.call('PTTL', KEYS[1] .. names[i])
end
return left
