-- Record that a replica can write now, and say for how long (ms) none could. After too long a silence nothing is
-- recorded, so that no replica can expire anybody, until one comes back having re-armed the leases. Returns the silence and the position of the log's newest event.
-- KEYS: pulse, head    ARGV: longest silence in ms, 1 to record in any case
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local last = tonumber(redis.call('GET', KEYS[1])) or now_ms
local silence = now_ms - last
local limit = tonumber(ARGV[1])
if ARGV[2] == '1' or (silence <= limit and silence >= -limit) then
  redis.call('SET', KEYS[1], string.format('%.0f', now_ms))
end
return {silence, redis.call('GET', KEYS[2]) or '0-0'}
