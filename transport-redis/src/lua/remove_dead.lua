-- Removes from the group ARGV[1] of the stream KEYS[1] the consumers whose names begin with ARGV[2],
-- that have shown no sign of life for ARGV[3] milliseconds and have nothing pending: what is would be
-- forgotten with them. With ARGV[4] of 1 the stream is one of notices, and those are deleted. Returns how
-- many were removed.
local key, group = KEYS[1], ARGV[1]
local consumers = redis.pcall('XINFO', 'CONSUMERS', key, group)
if consumers.err then return 0 end
local removed = 0
for _, flat in ipairs(consumers) do
  local consumer = {}
  for i = 1, #flat, 2 do consumer[flat[i]] = flat[i + 1] end
  local ours = string.sub(consumer.name, 1, #ARGV[2]) == ARGV[2]
  if ours and consumer.idle >= tonumber(ARGV[3]) then
    if ARGV[4] == '1' then
      local from = '-'
      repeat
        local pending = redis.call('XPENDING', key, group, from, '+', 100, consumer.name)
        for _, each in ipairs(pending) do
          redis.call('XDEL', key, each[1])
          from = '(' .. each[1]
        end
      until #pending < 100
      consumer.pending = 0
    end
    if consumer.pending == 0 then
      -- Before Redis 7 a full server refuses it, at first: see answer.lua.
      if type(redis.pcall('XGROUP', 'DELCONSUMER', key, group, consumer.name)) == 'table' then
        redis.pcall('XDEL', key, '0-0')
        redis.call('XGROUP', 'DELCONSUMER', key, group, consumer.name)
      end
      removed = removed + 1
    end
  end
end
return removed
