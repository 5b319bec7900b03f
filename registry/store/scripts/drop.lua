-- Forget a snapshot and its chunks.      KEYS: snapshots, then its chunks    ARGV: position
redis.call('HDEL', KEYS[1], ARGV[1])
for i = 2, #KEYS do
  redis.call('UNLINK', KEYS[i])
end
return 1
