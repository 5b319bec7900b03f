-- Delete a key, whatever it holds.      KEYS: the key
return redis.call('UNLINK', KEYS[1])
