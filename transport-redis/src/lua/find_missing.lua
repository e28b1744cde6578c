-- Returns those of the ids ARGV[2..] that are neither in the stream KEYS[1] nor pending in the
-- group ARGV[1]. Where somebody has put something else in the stream's place, none are.
local missing = {}
for i = 2, #ARGV do
  local id = ARGV[i]
  local found = redis.pcall('XRANGE', KEYS[1], id, id)
  if found.err and not string.find(found.err, 'WRONGTYPE') then return found end
  if #found == 0 then
    local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], id, id, 1)
    if pending.err or #pending == 0 then missing[#missing + 1] = id end
  end
end
return missing
