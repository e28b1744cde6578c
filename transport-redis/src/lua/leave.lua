-- Removes the consumer ARGV[2] from the group ARGV[1] of the stream KEYS[1] if nothing is pending
-- on it: what is would be forgotten with it. Returns 1 if it has an entry that was delivered within the
-- last ARGV[4] milliseconds, and so was not given back, else 0. With ARGV[3] of 1 the stream is one of
-- notices: those that are pending are deleted, and one is added in their place, for somebody else.
local key, group, me, notices = KEYS[1], ARGV[1], ARGV[2], ARGV[3] == '1'
local lease = tonumber(ARGV[4])
local from, any = '-', false
repeat
  local pending = redis.pcall('XPENDING', key, group, from, '+', 100, me)
  if pending.err then return 0 end
  for _, each in ipairs(pending) do
    if notices then
      redis.call('XDEL', key, each[1])
    elseif each[3] < lease and #redis.call('XRANGE', key, each[1], each[1]) > 0 then
      return 1
    end
    from, any = '(' .. each[1], true
  end
until #pending < 100
if any and not notices then return 0 end
-- Before Redis 7 a full server refuses it, at first: see answer.lua.
if type(redis.pcall('XGROUP', 'DELCONSUMER', key, group, me)) == 'table' then
  redis.pcall('XDEL', key, '0-0')
  redis.call('XGROUP', 'DELCONSUMER', key, group, me)
end
if any then redis.call('XADD', key, '*', 'from', me) end
return 0
