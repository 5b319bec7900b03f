-- Delete a key of any type.             KEYS: the key
return redis.call('UNLINK', KEYS[1])
