-- Append InstanceExpired for the instances whose lease is really gone, once per registration over all replicas.
-- KEYS: events, head, lease prefix, pulse, lapse prefix
-- ARGV: epoch and sequence that the replica has applied, longest silence in ms, how long a lapse is remembered in ms,
--       then per proposal: name, registered, payload
-- Returns per proposal the sequence of its event or 0; the error EPOCH or OUTAGE when nothing was done. A log that has
-- not begun (epoch 0) has nobody to expire, and is not begun by asking.
local head = redis.call('GET', KEYS[2]) or '0-0'
local epoch, sequence = string.match(head, '^(%d+)-(%d+)$')
if epoch ~= ARGV[1] or tonumber(sequence) < tonumber(ARGV[2]) then
  return redis.error_reply('EPOCH ' .. head)
end
local now = redis.call('TIME')
local pulse, run = string.match(redis.call('GET', KEYS[4]) or '0 0', '^(%d+) (%x+)$')
if run ~= string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') then
  return redis.error_reply('OUTAGE the store was started anew, leases have to be re-armed first')
end
local silence = now[1] * 1000 + math.floor(now[2] / 1000) - tonumber(pulse)
if silence > tonumber(ARGV[3]) or silence < -tonumber(ARGV[3]) then
  return redis.error_reply('OUTAGE no replica could write for ' .. string.format('%.0f', silence) .. ' ms')
end
sequence = tonumber(sequence)
local appended = {}
for i = 5, #ARGV, 3 do
  local n = (i - 2) / 3
  appended[n] = 0
  local lapse = KEYS[5] .. ARGV[i]
  -- What is no text there (pcall) remembers nothing, and is overwritten.
  if epoch ~= '0' and redis.call('EXISTS', KEYS[3] .. ARGV[i]) == 0 and redis.pcall('GET', lapse) ~= ARGV[i + 1] then
    sequence = sequence + 1
    redis.call('XADD', KEYS[1], epoch .. '-' .. string.format('%.0f', sequence), 'e', ARGV[i + 2])
    redis.call('SET', lapse, ARGV[i + 1], 'PX', ARGV[4])
    appended[n] = sequence
  end
end
if epoch ~= '0' then
  redis.call('SET', KEYS[2], epoch .. '-' .. string.format('%.0f', sequence))
end
return appended
