-- Gives entries of the stream KEYS[1] back that the consumer ARGV[2] still has in the group ARGV[1]: each
-- looks as if its lease of ARGV[3] milliseconds had run out. From ARGV[4] on, for each its id and the
-- deliveries that count. A notice on the stream KEYS[2] says so to those who wait there. Returns how many.
local given = 0
for i = 4, #ARGV, 2 do
  local id = ARGV[i]
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[2])
  if #pending > 0 and #redis.call('XRANGE', KEYS[1], id, id) > 0 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'IDLE', ARGV[3], 'RETRYCOUNT', ARGV[i + 1], 'JUSTID')
    given = given + 1
  end
end
if given > 0 then redis.call('XADD', KEYS[2], '*', 'from', ARGV[2]) end
return given
