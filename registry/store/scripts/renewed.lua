-- How much is left of a lease, and which replica brought the heartbeat that renewed it last.
-- KEYS: beats, lease prefix    ARGV: name, its ttl in ms,
-- ... ms ago that it was renewed, and ms by which that may be wrong, where the lease has ended; both 0 where it has not.
-- Returns {ms that are left, replica}; -2 when there is no lease; no replica when none of the heartbeats that are kept renewed it then.
local left = redis.call('PTTL', KEYS[2] .. ARGV[1])
local about = tonumber(ARGV[4])
if left < 0 and about == 0 then
  return {left, ''}
end
local now = redis.call('TIME')
local renewed = now[1] * 1000 + math.floor(now[2] / 1000) - (about > 0 and ARGV[3] or ARGV[2] - left)
local function at(id)
  local entry = redis.call('XRANGE', KEYS[1], string.format('%.0f', id), '+', 'COUNT', 1)[1]
  return entry, entry and tonumber(string.match(entry[1], '^%d+')), entry and tonumber(entry[2][2])
end
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local _, low = at(0)
if not newest then
  return {left, ''}
end
-- Entries are numbered by bytes and stand in the order of time: halve until the first one that is not older than the renewal.
local high = tonumber(string.match(newest[1], '^%d+')) + 1
while low < high do
  local middle = math.floor((low + high) / 2)
  local _, id, time = at(middle)
  if time < renewed - 2 - about then
    low = id + 1
  else
    high = middle
  end
end
local replica = ''
-- Old servers read the clock anew within one script, so that the entry may be some ms younger than what it renewed.
for _ = 1, 64 do
  local entry, id, time = at(low)
  if not entry or time > renewed + 50 + about then
    break
  end
  local beats = cmsgpack.unpack(entry[2][6])
  for i = 1, #beats, 2 do
    if beats[i] == ARGV[1] then
      replica = entry[2][4]
    end
  end
  low = id + 1
end
return {left, replica}
