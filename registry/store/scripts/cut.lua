-- Drop the end of a log, and begin a new epoch with these events; without any, leave no log. Only if head and newest
-- entry are still what they were when somebody decided so.
-- KEYS: events, head
-- ARGV: head and newest entry as seen ("" none), position up to which entries stay, new epoch, 1 if the log has given
--       an id beyond that already, the payloads
-- Returns the number of events, or the error EPOCH.
local kind = redis.call('TYPE', KEYS[1]).ok
local head, newest = '', ''
if redis.call('TYPE', KEYS[2]).ok == 'string' then
  head = redis.call('GET', KEYS[2])
end
if kind == 'stream' then
  local entry = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
  newest = entry and entry[1] or ''
end
if head ~= ARGV[1] or newest ~= ARGV[2] then
  return redis.error_reply('EPOCH ' .. head)
end
local events = #ARGV - 5
if kind ~= 'stream' or events == 0 then
  redis.call('DEL', KEYS[1])
elseif ARGV[5] == '1' then
  -- A stream never takes an id below its last one, so its entries move to a new one.
  local kept = redis.call('XRANGE', KEYS[1], '-', ARGV[3])
  redis.call('DEL', KEYS[1])
  for _, entry in ipairs(kept) do
    redis.call('XADD', KEYS[1], entry[1], unpack(entry[2]))
  end
else
  local dropped = redis.call('XRANGE', KEYS[1], '(' .. ARGV[3], '+')
  for _, entry in ipairs(dropped) do
    redis.call('XDEL', KEYS[1], entry[1])
  end
end
for i = 1, events do
  redis.call('XADD', KEYS[1], ARGV[4] .. '-' .. i, 'e', ARGV[5 + i])
end
if events == 0 then
  redis.call('DEL', KEYS[2])
else
  redis.call('SET', KEYS[2], ARGV[4] .. '-' .. events)
end
return events
