-- Whether a tenant is on the list.      KEYS: tenants set    ARGV: its name there
return redis.call('SISMEMBER', KEYS[1], ARGV[1])
