-- Adds requests to the stream KEYS[1], as long as it holds fewer than ARGV[1], each of ARGV[3]
-- arguments from ARGV[4] on. Before, it makes the reply stream KEYS[2], empty and expiring after ARGV[2]
-- seconds, if that is not there: processors answer only where there is one. Returns the ids of those
-- that were added, the first ones.
if redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('XADD', KEYS[2], '*', 'made', '1')
  redis.call('EXPIRE', KEYS[2], ARGV[2])
end
local room = ARGV[1] - redis.call('XLEN', KEYS[1])
local ids, each = {}, ARGV[3]
for i = 4, #ARGV, each do
  if #ids >= room then break end
  ids[#ids + 1] = redis.call('XADD', KEYS[1], '*', unpack(ARGV, i, i + each - 1))
end
return ids
