-- The next entries of the list of tenants' log, and the time.
-- KEYS: tenants stream    ARGV: entry after which to go on ("": at the beginning), most entries
-- Returns the time in ms, and what XRANGE returns.
local now = redis.call('TIME')
local from = ARGV[1] == '' and '-' or '(' .. ARGV[1]
return {now[1] * 1000 + math.floor(now[2] / 1000), redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', ARGV[2])}
