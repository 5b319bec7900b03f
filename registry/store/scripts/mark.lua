-- A snapshot is complete: keep its chunks for good and let readers find it.
-- KEYS: snapshots, then its chunks    ARGV: position, mark      Returns 1, or 0 when one of the chunks is gone.
for i = 2, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 0 then
    return 0
  end
end
for i = 2, #KEYS do
  redis.call('PERSIST', KEYS[i])
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
