-- Removes from the group ARGV[1] of the stream KEYS[1] the consumers whose names begin with ARGV[2],
-- that have shown no sign of life for ARGV[3] milliseconds and have nothing pending: what is would be
-- forgotten with them. Returns how many.
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])
if consumers.err then return 0 end
local removed = 0
for _, flat in ipairs(consumers) do
  local consumer = {}
  for i = 1, #flat, 2 do consumer[flat[i]] = flat[i + 1] end
  local ours = string.sub(consumer.name, 1, #ARGV[2]) == ARGV[2]
  if ours and consumer.pending == 0 and consumer.idle >= tonumber(ARGV[3]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
    removed = removed + 1
  end
end
return removed
