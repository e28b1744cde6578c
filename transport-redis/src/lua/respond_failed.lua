-- Sets the key KEYS[2], named like the request of a Python caller that has failed, to ARGV[3], expiring after
-- ARGV[4] seconds, if the request is pending on the consumer ARGV[2] in the group ARGV[1] of the stream
-- KEYS[1]: else others have it, and may answer it yet. Returns whether it was.
local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], KEYS[2], KEYS[2], 1, ARGV[2])
if not pending.err and #pending == 0 then return 0 end
-- Also where the server is full, for the same reason as in answer.lua.
if redis.pcall('SET', KEYS[2], ARGV[3], 'EX', ARGV[4]).err then
  redis.pcall('XDEL', KEYS[1], '0-0')
  redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[4])
end
return 1
