-- Record that a replica can write now, and say for how long (ms) none could. After too long a silence, and in a server
-- that was started since, nothing is recorded, so that no replica can expire anybody, until one comes back having
-- re-armed the leases, the last of them a moment ago.
-- KEYS: pulse, head of a log that is as old as the data here, rearming    ARGV: longest silence in ms, 1 to resume
-- Returns the silence, 1 if the server is another one than before, and its name.
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
-- What is damaged is as good as nothing: one tenant's head must not keep all of them from their pulse.
local function text(key, otherwise)
  local held = redis.pcall('GET', key)
  return type(held) == 'string' and held or otherwise
end
local head = text(KEYS[2], '0-0')
local last, last_run = string.match(text(KEYS[1], ''), '^(%d+) (%x+)$')
local limit = tonumber(ARGV[1])
if not last then
  -- The first pulse. If the log is older, there was none since, or it was lost.
  local began = head == '0-0' and now_ms or tonumber(string.match(head, '^%d+')) or now_ms
  local age = now_ms - began
  last, last_run = began, (age <= limit and age >= -limit) and run or ''
end
local silence = now_ms - tonumber(last)
local restarted = last_run ~= run
local record = not restarted and silence <= limit and silence >= -limit
if ARGV[2] == '1' then
  local rearmed = now_ms - (tonumber(text(KEYS[3], '')) or 0)
  record = record or (rearmed <= limit and rearmed >= -limit)
end
if record then
  redis.call('SET', KEYS[1], string.format('%.0f', now_ms) .. ' ' .. run)
end
return {silence, restarted and 1 or 0, run}
