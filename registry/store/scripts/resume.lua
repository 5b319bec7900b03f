-- Begin a new epoch of a log with these events, if its newest event is still the one that the replica has read.
-- KEYS: events, head    ARGV: position of the newest event (0-0: none), new epoch, then the payloads
-- Returns the number of events, or the error EPOCH.
local head = redis.call('GET', KEYS[2]) or '0-0'
if head ~= ARGV[1] then
  return redis.error_reply('EPOCH ' .. head)
end
local epoch = ARGV[2]
for i = 3, #ARGV do
  redis.call('XADD', KEYS[1], epoch .. '-' .. string.format('%.0f', i - 2), 'e', ARGV[i])
end
redis.call('SET', KEYS[2], epoch .. '-' .. string.format('%.0f', #ARGV - 2))
return #ARGV - 2
