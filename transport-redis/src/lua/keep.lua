-- Resets the idle time of those of the ids ARGV[3..] that the consumer ARGV[2] still has in the
-- group ARGV[1] of the stream KEYS[1]: blindly, it would steal back what another has taken over. Returns
-- the ids of the others.
local lost = {}
for i = 3, #ARGV do
  local id = ARGV[i]
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[2])
  if #pending == 0 or #redis.call('XRANGE', KEYS[1], id, id) == 0 then
    lost[#lost + 1] = id
  else
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, id, 'JUSTID')
  end
end
return lost
