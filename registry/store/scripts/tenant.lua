-- Announce a tenant once: its name goes to the set, and to the stream that every reader follows.
-- KEYS: tenants set, tenants stream    ARGV: domain, project (both percent-encoded), most tenants (0: any number)
-- Returns 1, or 0 when it is a new one and there are too many already.
local stream = redis.call('TYPE', KEYS[2]).ok
if stream ~= 'stream' and stream ~= 'none' then
  return redis.error_reply('WRONGTYPE the list of tenants is a ' .. stream)
end
local name = ARGV[1] .. '/' .. ARGV[2]
if redis.call('SADD', KEYS[1], name) == 1 then
  if ARGV[3] ~= '0' and redis.call('SCARD', KEYS[1]) > tonumber(ARGV[3]) then
    redis.call('SREM', KEYS[1], name)
    return 0
  end
  redis.call('XADD', KEYS[2], '*', 'd', ARGV[1], 'p', ARGV[2])
end
return 1
