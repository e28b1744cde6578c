-- Ends requests of one caller: adds an entry to its stream KEYS[2], if that is there, then deletes their
-- entries of the stream KEYS[1] and acknowledges them in the group ARGV[1]. ARGV[2] is how many they are,
-- ARGV[3] in how many runs the first of them come: ids from the fourth argument on; behind them for each
-- run how many it is, and the id that follows its last one; and then the fields. Where the entry is
-- refused, nothing is deleted.
--
-- A run has ids without a gap, where nothing else can stand in between: if nothing stands before it, the
-- stream can be cut off behind it, which takes a tenth of the time of deleting each. What stands before it
-- is mostly pending, which is seen without its body.
--
-- A server whose memory is full refuses what adds something, unless the script has written before: what
-- deletes nothing is written then, as only answers make room where requests have filled it.
local stream, first, last = KEYS[1], 4, 3 + ARGV[2]
local fields = last + 1 + 2 * ARGV[3]
if type(redis.pcall('XADD', KEYS[2], 'NOMKSTREAM', '*', unpack(ARGV, fields))) == 'table' then
  redis.pcall('XDEL', stream, '0-0')
  redis.call('XADD', KEYS[2], 'NOMKSTREAM', '*', unpack(ARGV, fields))
end
local from = '-'
for run = last + 1, fields - 1, 2 do
  local start, behind = '(' .. ARGV[first], ARGV[run + 1]
  local before = redis.pcall('XPENDING', stream, ARGV[1], from, start, 1)
  if #before == 0 and not before.err then
    before = redis.pcall('XRANGE', stream, from, start, 'COUNT', 1)
  end
  if before.err or #before > 0 then break end
  if type(redis.pcall('XTRIM', stream, 'MINID', behind)) == 'table' then break end
  from, first = behind, first + ARGV[run]
end
if first <= last then redis.call('XDEL', stream, unpack(ARGV, first, last)) end
return redis.call('XACK', stream, ARGV[1], unpack(ARGV, 4, last))
