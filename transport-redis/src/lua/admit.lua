-- Adds requests to the stream KEYS[1], as long as it holds fewer than ARGV[1], each of ARGV[3]
-- arguments from ARGV[4] on. Before, it makes the reply stream KEYS[2], empty and expiring after ARGV[2]
-- seconds, if that is not there, or puts off its expiry: processors answer only where there is one.
-- Returns the ids of those that were added, the first ones.
local expiry, left = ARGV[2], redis.call('TTL', KEYS[2])
if left == -2 then redis.call('XADD', KEYS[2], '*', 'made', '1') end
if left < expiry / 2 then redis.call('EXPIRE', KEYS[2], expiry) end
local room = ARGV[1] - redis.call('XLEN', KEYS[1])
local ids, each = {}, ARGV[3]
for i = 4, #ARGV, each do
  if #ids >= room then break end
  ids[#ids + 1] = redis.call('XADD', KEYS[1], '*', unpack(ARGV, i, i + each - 1))
end
return ids
