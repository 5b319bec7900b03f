-- Renew leases, never creating one nor shortening one that a newer registration made longer, and record the batch in the capped stream of heartbeats.
-- KEYS: beats, lease prefix    ARGV: MessagePack list [name, ttl in ms, name, ttl in ms, ...], cap of the stream, replica
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
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'r', ARGV[3], 'b', ARGV[1])
return missing
