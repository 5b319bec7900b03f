-- Take a tenant off the list, and tell every reader up to where its log went then.
-- KEYS: tenants set, tenants stream    ARGV: domain, project (both percent-encoded), position
-- Returns 1, or 0 when it is not on the list.
local stream = redis.call('TYPE', KEYS[2]).ok
if stream ~= 'stream' and stream ~= 'none' then
  return redis.error_reply('WRONGTYPE the list of tenants is a ' .. stream)
end
if redis.call('SREM', KEYS[1], ARGV[1] .. '/' .. ARGV[2]) == 0 then
  return 0
end
redis.call('XADD', KEYS[2], '*', 'd', ARGV[1], 'p', ARGV[2], 'g', ARGV[3])
return 1
