-- Removes the consumer ARGV[2] from the group ARGV[1] of the stream KEYS[1] if nothing is pending
-- on it: what is would be forgotten with it. With ARGV[3] of 1 the stream is one of notices: those that
-- are pending are deleted, and one is added in their place, for somebody else.
local key, group, me, notices = KEYS[1], ARGV[1], ARGV[2], ARGV[3] == '1'
local pending = redis.pcall('XPENDING', key, group, '-', '+', 100, me)
if pending.err then return 0 end
if #pending > 0 and not notices then return 0 end
for _, each in ipairs(pending) do redis.call('XDEL', key, each[1]) end
redis.call('XGROUP', 'DELCONSUMER', key, group, me)
if #pending > 0 then redis.call('XADD', key, '*', 'from', me) end
return 1
