-- Moves the entry ARGV[2] of the stream KEYS[1] to the dead letters KEYS[2], of which about ARGV[4] are
-- kept, with the fields from ARGV[6] on, unless it is gone already: the letter first, which may be refused.
-- If ARGV[5] is 1, the entry's body comes before them, of several the last. ARGV[3] is 1 if it is to be
-- acknowledged in the group ARGV[1]; a Python caller may still look for it there. Returns whether it was
-- moved. Where the letter is refused what deletes nothing is written, for the same reason as in answer.lua.
local found = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])
if #found == 1 then
  local letter, fields, body = {unpack(ARGV, 6)}, found[1][2], nil
  for i = 1, #fields, 2 do
    if fields[i] == 'body' then body = fields[i + 1] end
  end
  if ARGV[5] == '1' and body then letter = {'body', body, unpack(letter)} end
  if type(redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', unpack(letter))) == 'table' then
    redis.pcall('XDEL', KEYS[1], '0-0')
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', unpack(letter))
  end
  redis.call('XDEL', KEYS[1], ARGV[2])
end
if ARGV[3] == '1' then redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) end
return #found
