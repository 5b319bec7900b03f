-- Renew leases, never creating one nor shortening one that a newer registration made longer, and record the batch in the capped stream of heartbeats.
-- KEYS: beats, lease prefix
-- ARGV: MessagePack list [name, ttl in ms, name, ttl in ms, ...], bytes of the newest batches that stay, replica
-- Returns the indexes (from 0) of the instances that have no lease.
local beats = cmsgpack.unpack(ARGV[1])
local missing = {}
for i = 1, #beats, 2 do
  local key = KEYS[2] .. beats[i]
  local left = redis.call('PTTL', key)
  if left < 0 then
    missing[#missing + 1] = (i - 1) / 2
  elseif left < beats[i + 1] then
    redis.call('PEXPIRE', key, beats[i + 1])
  end
end
-- The stream is bounded in bytes, so entries are numbered by them: an entry's id is that of the one before and its size.
local size = #ARGV[1] + #ARGV[3] + 64
local id = size
if redis.call('EXISTS', KEYS[1]) == 1 then
  local told = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #told, 2 do
    if told[i] == 'last-generated-id' then
      id = tonumber(string.match(told[i + 1], '^%d+')) + size
    end
  end
end
local eldest = string.format('%.0f', math.max(id - ARGV[2], 0))
local now = redis.call('TIME')
redis.call('XADD', KEYS[1], 'MINID', '~', eldest, string.format('%.0f-1', id),
  't', now[1] .. string.format('%03d', math.floor(now[2] / 1000)), 'r', ARGV[3], 'b', ARGV[1])
return missing
