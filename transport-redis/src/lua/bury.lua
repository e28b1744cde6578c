-- Moves the entry ARGV[2] of the stream KEYS[1] to the dead letters KEYS[2], of which about ARGV[4] are
-- kept, with the fields from ARGV[5] on, unless it is gone already: the letter first, which may be refused.
-- ARGV[3] is 1 if it is to be acknowledged in the group ARGV[1]; a Python caller may still look for it
-- there. Returns whether it was moved.
local there = #redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[2])
if there == 1 then
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', unpack(ARGV, 5))
  redis.call('XDEL', KEYS[1], ARGV[2])
end
if ARGV[3] == '1' then redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) end
return there
