-- Takes over entries of the stream KEYS[1] that have been idle in the group ARGV[1] for ARGV[3]
-- milliseconds, at most ARGV[5] of them, for the consumer ARGV[2].
--
-- Those that are gone from the stream wait for a Python caller to see them pending: they are
-- acknowledged when idle for ARGV[4] milliseconds, and untouched before. The consumer named as the
-- group, the Python package's, keeps its entries until then too.
--
-- An entry that was delivered ARGV[6] times is not taken: it is to be given up. One whose next delivery
-- is the last that is permitted is taken alone, by a consumer that holds nothing (ARGV[7] is 0): if it
-- kills its processor, it takes no other with it.
--
-- Looks at a bounded number of entries, so as not to hold the server up, from ARGV[8] on. Returns a list
-- of the entries taken, each its id, its deliveries before, itself; a list of those to be given up, each
-- its id, its deliveries, its consumer, how long it has been idle, itself with an empty body, which may be
-- what kept it from ever coming through; whether entries on their last delivery wait or were taken; from
-- where to go on, empty where nothing more is to be looked at; and whether there are more to take than were
-- asked for.
local key, group, me = KEYS[1], ARGV[1], ARGV[2]
local grace, most, permitted = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local holding = ARGV[7] ~= '0'
local taken, exhausted, last, more = {}, {}, 0, 0
local from, seen = ARGV[8], 0
while from ~= '' and seen < 2000 do
  local pending = redis.pcall('XPENDING', key, group, 'IDLE', ARGV[3], from, '+', 100)
  if pending.err then pending = {} end
  for _, each in ipairs(pending) do
    local id, owner, idle, deliveries = each[1], each[2], each[3], each[4]
    if owner ~= group or idle >= grace then
      local entry = redis.call('XRANGE', key, id, id)
      if #entry == 0 then
        if idle >= grace then redis.call('XACK', key, group, id) end
      elseif deliveries >= permitted then
        if #exhausted < 100 then
          local fields = entry[1][2]
          for i = 1, #fields, 2 do
            if fields[i] == 'body' then fields[i + 1] = '' end
          end
          exhausted[#exhausted + 1] = {id, deliveries, owner, idle, entry[1]}
        end
      elseif permitted > 1 and deliveries + 1 == permitted then
        last = 1
        if not holding and #taken == 0 and most > 0 then
          local claimed = redis.call('XCLAIM', key, group, me, ARGV[3], id)
          if #claimed > 0 then return {{{id, deliveries, claimed[1]}}, exhausted, last, '', more} end
        end
      elseif #taken < most then
        local claimed = redis.call('XCLAIM', key, group, me, ARGV[3], id)
        if #claimed > 0 then taken[#taken + 1] = {id, deliveries, claimed[1]} end
      else
        more = 1
      end
    end
  end
  seen = seen + #pending
  from = #pending == 100 and '(' .. pending[100][1] or ''
end
return {taken, exhausted, last, from, more}
