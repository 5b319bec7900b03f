-- One chunk of a snapshot; none where something else stands, which is no chunk.      KEYS: chunk
if redis.call('TYPE', KEYS[1]).ok ~= 'string' then
  return false
end
return redis.call('GET', KEYS[1])
