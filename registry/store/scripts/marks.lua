-- The marks of all complete snapshots.      KEYS: snapshots
return redis.call('HVALS', KEYS[1])
