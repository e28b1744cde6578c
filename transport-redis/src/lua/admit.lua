-- Adds requests to the stream KEYS[1], as long as it holds fewer than ARGV[1]: for each three arguments
-- from ARGV[10] on, its body, idem and timeout. From ARGV[3] on, what is the same for all: the names of
-- the fields, in the order in which an entry has them, and behind that of the version the version. ARGV[9]
-- is empty, or the name of a further field: then a fourth argument of each is its value, empty where a
-- request has none. Before,
-- it makes the reply stream KEYS[2], empty and expiring after ARGV[2] seconds, if that is not there, or
-- puts off its expiry: processors answer only where there is one. Returns the ids of those that were
-- added, the first ones; where they follow upon each other without a gap only the first id, and how many.

-- As locals, which are found faster in a loop.
local call, args = redis.call, ARGV
local stream, reply = KEYS[1], KEYS[2]
local expiry, left = args[2], call('TTL', reply)
if left == -2 then call('XADD', reply, '*', 'made', '1') end
if left < expiry / 2 then call('EXPIRE', reply, expiry) end
local body, v, version, reply_to, idem, timeout, further = unpack(args, 3, 9)
local room = args[1] - call('XLEN', stream)
local ids, added = {}, 0
local own = further == '' and 3 or 4
for i = 10, #args, own do
  if added >= room then break end
  added = added + 1
  if own == 3 or args[i + 3] == '' then
    ids[added] = call('XADD', stream, '*', body, args[i], v, version, reply_to, reply,
      idem, args[i + 1], timeout, args[i + 2])
  else
    ids[added] = call('XADD', stream, '*', body, args[i], v, version, reply_to, reply,
      idem, args[i + 1], timeout, args[i + 2], further, args[i + 3])
  end
end
if added < 3 then return ids end
local millis, from = string.match(ids[1], '(%d+)-(%d+)')
if ids[added] ~= millis .. '-' .. (from + added - 1) then return ids end
return { ids[1], added }
