-- What stands under a tenant's keys: the type of each, the head, the log's newest entry, and its last id.
-- KEYS: events, head, and the others      Returns the types, then three texts, "" for what there is not.
local found = {}
for i = 1, #KEYS do
  found[i] = redis.call('TYPE', KEYS[i]).ok
end
local head, newest, last = '', '', ''
if found[2] == 'string' then
  head = redis.call('GET', KEYS[2])
end
if found[1] == 'stream' then
  local entry = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
  newest = entry and entry[1] or ''
  local told = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #told, 2 do
    if told[i] == 'last-generated-id' then
      last = told[i + 1]
    end
  end
end
for _, text in ipairs({head, newest, last}) do
  found[#found + 1] = text
end
return found
