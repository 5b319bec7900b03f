-- Drop events before a position, whole nodes of the stream at a time and a bounded number of them.
-- KEYS: events    ARGV: position, most events      Returns how many went.
return redis.call('XTRIM', KEYS[1], 'MINID', '~', ARGV[1], 'LIMIT', ARGV[2])
