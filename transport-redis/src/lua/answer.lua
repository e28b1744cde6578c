-- Ends requests of one caller: adds an entry to its stream KEYS[2], if that is there, then deletes their
-- entries of the stream KEYS[1] and acknowledges them in the group ARGV[1]. ARGV[2] is how many they are;
-- their ids follow, and behind them the fields. Where the entry is refused, nothing is deleted.
local last = 2 + ARGV[2]
redis.call('XADD', KEYS[2], 'NOMKSTREAM', '*', unpack(ARGV, last + 1))
redis.call('XDEL', KEYS[1], unpack(ARGV, 3, last))
return redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, 3, last))
