-- Append events without gaps and grant or drop their leases: all of it or nothing.
-- KEYS: events, head, lease prefix (the lease keys carry the same hash tag)
-- ARGV: epoch and sequence that the writer has applied (0: none), then for each write
--       payload ("" for none), number of leases, and per lease its name and ttl in ms (0: drop)
-- Returns the epoch and the sequence of the last event before these, or the error EPOCH.
local head = redis.call('GET', KEYS[2])
local epoch, sequence
if head then
  epoch, sequence = string.match(head, '^(%d+)-(%d+)$')
  if epoch ~= ARGV[1] then
    return redis.error_reply('EPOCH ' .. head)
  end
  sequence = tonumber(sequence)
  if sequence < tonumber(ARGV[2]) then
    -- The writer holds events that the log has lost.
    return redis.error_reply('EPOCH ' .. head)
  end
else
  if ARGV[1] ~= '0' then
    return redis.error_reply('EPOCH 0-0')
  end
  local now = redis.call('TIME')
  epoch = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000))
  sequence = 0
end
local before = string.format('%.0f', sequence)
local i = 3
while i <= #ARGV do
  if ARGV[i] ~= '' then
    sequence = sequence + 1
    redis.call('XADD', KEYS[1], epoch .. '-' .. string.format('%.0f', sequence), 'e', ARGV[i])
  end
  local leases = tonumber(ARGV[i + 1])
  i = i + 2
  for _ = 1, leases do
    local key = KEYS[3] .. ARGV[i]
    if ARGV[i + 1] == '0' then
      redis.call('DEL', key)
    else
      redis.call('SET', key, '1', 'PX', ARGV[i + 1])
    end
    i = i + 2
  end
end
local after = string.format('%.0f', sequence)
if after ~= before then
  redis.call('SET', KEYS[2], epoch .. '-' .. after)
end
return epoch .. '-' .. before
