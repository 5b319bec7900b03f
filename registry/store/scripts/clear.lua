-- Delete a log and what stands beside it, only if the log's newest event is still the one that somebody has seen; or if
-- there is no log any more.
-- KEYS: head, events, and the others    ARGV: position      Returns 1, or 0 when the log goes on.
local head = redis.call('GET', KEYS[1])
if head and head ~= ARGV[1] or not head and redis.call('EXISTS', KEYS[2]) == 1 then
  return 0
end
for i = 1, #KEYS do
  redis.call('UNLINK', KEYS[i])
end
return 1
