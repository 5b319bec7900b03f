-- Put a new list in the place of the list of tenants.
-- KEYS: tenants set, tenants stream    ARGV: domain, project, domain, project, ... (all percent-encoded)
redis.call('DEL', KEYS[1], KEYS[2])
for i = 1, #ARGV, 2 do
  redis.call('SADD', KEYS[1], ARGV[i] .. '/' .. ARGV[i + 1])
  redis.call('XADD', KEYS[2], '*', 'd', ARGV[i], 'p', ARGV[i + 1])
end
return 1
