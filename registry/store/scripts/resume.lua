-- Begin a new epoch of a log with these events, if its newest event is still the one that the replica has read.
-- KEYS: events, head, snapshots
-- ARGV: position of the newest event (0-0: none), new epoch, 1 if a snapshot has to stand at its beginning, the payloads
-- Returns the number of events, or the error EPOCH.
local head = redis.call('GET', KEYS[2]) or '0-0'
if head ~= ARGV[1] then
  return redis.error_reply('EPOCH ' .. head)
end
local epoch = ARGV[2]
if ARGV[3] == '1' and redis.call('HEXISTS', KEYS[3], epoch .. '-1') == 0 then
  return redis.error_reply('EPOCH the snapshot is gone')
end
for i = 4, #ARGV do
  redis.call('XADD', KEYS[1], epoch .. '-' .. string.format('%.0f', i - 3), 'e', ARGV[i])
end
redis.call('SET', KEYS[2], epoch .. '-' .. string.format('%.0f', #ARGV - 3))
return #ARGV - 3
