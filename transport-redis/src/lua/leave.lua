-- Removes the consumer ARGV[2] from the group ARGV[1] of the stream KEYS[1] if nothing is pending
-- on it: what is would be forgotten with it.
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2])
if not pending.err and #pending == 0 then
  return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end
return 0
