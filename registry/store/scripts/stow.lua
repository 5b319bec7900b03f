-- Keep one chunk of a snapshot for a while: until it is marked as complete, or forgotten with its writer.
-- KEYS: chunk    ARGV: bytes, time in ms
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
