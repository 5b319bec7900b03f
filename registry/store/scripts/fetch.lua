-- One chunk of a snapshot.      KEYS: chunk
return redis.call('GET', KEYS[1])
