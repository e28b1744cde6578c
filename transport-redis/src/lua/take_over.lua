-- Takes over entries of the stream KEYS[1] that have been idle in the group ARGV[1] for ARGV[3]
-- milliseconds, at most ARGV[5] of them, for the consumer ARGV[2]. Those that are gone from the
-- stream wait for a Python caller to see them pending: they are acknowledged when idle for ARGV[4]
-- milliseconds, and untouched before. The consumer named as the group, the Python package's, keeps
-- its entries until then too. Looks at a bounded number of entries, so as not to hold the server up.
-- Returns for each entry taken its id, its deliveries before, itself.
local key, group, me = KEYS[1], ARGV[1], ARGV[2]
local grace, most = tonumber(ARGV[4]), tonumber(ARGV[5])
local taken, from, seen = {}, '-', 0
while seen < 2000 do
  local pending = redis.pcall('XPENDING', key, group, 'IDLE', ARGV[3], from, '+', 100)
  if pending.err or #pending == 0 then return taken end
  for _, entry in ipairs(pending) do
    local id, owner, idle, deliveries = entry[1], entry[2], entry[3], entry[4]
    local there = #redis.call('XRANGE', key, id, id) > 0
    if not there then
      if idle >= grace then redis.call('XACK', key, group, id) end
    elseif #taken < most and (owner ~= group or idle >= grace) then
      local claimed = redis.call('XCLAIM', key, group, me, ARGV[3], id)
      if #claimed > 0 then taken[#taken + 1] = {id, deliveries, claimed[1]} end
    end
  end
  seen = seen + #pending
  from = '(' .. pending[#pending][1]
end
return taken
