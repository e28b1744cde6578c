-- Creates the group ARGV[1] of the stream KEYS[1], and the stream where it is missing, to read from ARGV[2]
-- on, also where the server is full: what deletes nothing is written first, for the same reason as in
-- answer.lua. So a processor can connect that answers what fills it.
redis.pcall('XDEL', KEYS[1], '0-0')
return redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], ARGV[2], 'MKSTREAM')
