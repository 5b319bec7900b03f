-- Delete entries of the list of tenants' log.      KEYS: tenants stream    ARGV: the entries
return redis.call('XDEL', KEYS[1], unpack(ARGV))
