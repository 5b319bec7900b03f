-- Grant lapsed leases again, only if the log's newest event is still the one the replica has applied: then no event
-- that it has not seen can have removed the instances.
-- KEYS: head, lease prefix     ARGV: position, MessagePack list [name, ttl in ms, ...]      Returns 1, or 0 if the log moved.
if (redis.call('GET', KEYS[1]) or '0-0') ~= ARGV[1] then
  return 0
end
local leases = cmsgpack.unpack(ARGV[2])
for i = 1, #leases, 2 do
  redis.call('SET', KEYS[2] .. leases[i], '1', 'PX', leases[i + 1])
end
return 1
