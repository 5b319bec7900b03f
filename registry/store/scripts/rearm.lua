-- Give each instance a lease of its full length from now, whether it has one or not (after an outage of ours).
-- KEYS: lease prefix    ARGV: MessagePack list [name, ttl in ms, ...]
local leases = cmsgpack.unpack(ARGV[1])
for i = 1, #leases, 2 do
  redis.call('SET', KEYS[1] .. leases[i], '1', 'PX', leases[i + 1])
end
return #leases / 2
