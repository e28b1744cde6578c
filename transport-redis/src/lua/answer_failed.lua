-- Ends requests of one caller as answer.lua does, where some of them have failed: of these the ones that are
-- not pending on the consumer ARGV[3] any more are left out, as others have them, and may answer them yet.
-- ARGV[2] is how many requests there are, ids from the fourth argument on; behind them the fields, of which
-- the last ones are the requests' own, in their order. Returns how many have ended.
local stream, reply, group, count = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2])
local own = #ARGV - 2 * count
local ids, fields = {}, { unpack(ARGV, 4 + count, own) }
for i = 1, count do
  local id, name, value = ARGV[3 + i], ARGV[own + 2 * i - 1], ARGV[own + 2 * i]
  local held = string.sub(value, 1, 1) == '+'
  if not held then
    local pending = redis.pcall('XPENDING', stream, group, id, id, 1, ARGV[3])
    held = pending.err or #pending > 0
  end
  if held then
    ids[#ids + 1], fields[#fields + 1], fields[#fields + 2] = id, name, value
  end
end
if #ids == 0 then return 0 end
-- Also where the server is full, for the same reason as there.
if type(redis.pcall('XADD', reply, 'NOMKSTREAM', '*', unpack(fields))) == 'table' then
  redis.pcall('XDEL', stream, '0-0')
  redis.call('XADD', reply, 'NOMKSTREAM', '*', unpack(fields))
end
redis.call('XDEL', stream, unpack(ids))
redis.call('XACK', stream, group, unpack(ids))
return #ids
