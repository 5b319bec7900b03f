-- Keep one chunk of a snapshot for a while: until it is marked as complete, or forgotten with its writer. One that is
-- part of a complete snapshot already stays for good when it is written again.
-- KEYS: chunk    ARGV: bytes, time in ms
if redis.call('PTTL', KEYS[1]) == -1 then
  redis.call('SET', KEYS[1], ARGV[1])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
