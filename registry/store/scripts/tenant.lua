-- Announce a tenant once: its name goes to the set, and to the stream that every reader follows.
-- KEYS: tenants set, tenants stream    ARGV: domain, project (both percent-encoded)
local stream = redis.call('TYPE', KEYS[2]).ok
if stream ~= 'stream' and stream ~= 'none' then
  return redis.error_reply('WRONGTYPE the list of tenants is a ' .. stream)
end
if redis.call('SADD', KEYS[1], ARGV[1] .. '/' .. ARGV[2]) == 1 then
  redis.call('XADD', KEYS[2], '*', 'd', ARGV[1], 'p', ARGV[2])
end
return 1
