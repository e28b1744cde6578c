-- Returns those of the ids ARGV[2..] that are neither in the stream KEYS[1] nor pending in the
-- group ARGV[1].
local missing = {}
for i = 2, #ARGV do
  local id = ARGV[i]
  if #redis.call('XRANGE', KEYS[1], id, id) == 0 then
    local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], id, id, 1)
    if pending.err or #pending == 0 then missing[#missing + 1] = id end
  end
end
return missing
