-- Puts the body of the dead letter ARGV[1] of the stream KEYS[1] on the stream KEYS[2] once more, as a
-- new request, and removes the letter. Returns the new entry's id, or nothing if there is no such letter.
local letter = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if #letter == 0 then return false end
local fields = letter[1][2]
for i = 1, #fields, 2 do
  if fields[i] == 'body' then
    local id = redis.call('XADD', KEYS[2], '*', 'body', fields[i + 1])
    redis.call('XDEL', KEYS[1], ARGV[1])
    return id
  end
end
return redis.error_reply('NOBODY the dead letter has no body')
