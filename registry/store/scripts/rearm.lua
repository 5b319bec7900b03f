-- Give each instance a lease of its full length from now, whether it has one or not (after an outage of the registry).
-- KEYS: lease prefix, rearming    ARGV: MessagePack list [name, ttl in ms, ...], longest time since the batch before in ms (0: this is the first)
-- Returns 1; 0 when the batch before is too long ago: clients could not beat meanwhile, and all of it begins anew.
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local within = tonumber(ARGV[2])
if within > 0 and now_ms - (tonumber(redis.call('GET', KEYS[2])) or 0) > within then
  return 0
end
local leases = cmsgpack.unpack(ARGV[1])
for i = 1, #leases, 2 do
  redis.call('SET', KEYS[1] .. leases[i], '1', 'PX', leases[i + 1])
end
-- No time to live: what may pass until the resumption is for the replicas to say, not for this mark.
redis.call('SET', KEYS[2], string.format('%.0f', now_ms))
return 1
