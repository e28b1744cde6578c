-- Runs the command ARGV, which writes to the key KEYS[1], also where the server is full: what deletes nothing
-- is written first, for the same reason as in answer.lua.
redis.pcall('XDEL', KEYS[1], '0-0')
return redis.pcall(unpack(ARGV))
