-- Returns streams other than ARGV[1] and ARGV[2] that have the group ARGV[3], as far as a bounded look
-- shows them, two at most.
local found, cursor = {}, '0'
for _ = 1, 10 do
  local page = redis.pcall('SCAN', cursor, 'COUNT', 100, 'TYPE', 'stream')
  if page.err then return found end
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    local groups = redis.pcall('XINFO', 'GROUPS', key)
    for _, flat in ipairs(groups.err and {} or groups) do
      local other = key ~= ARGV[1] and key ~= ARGV[2] and string.sub(key, -6) ~= ':again'
      if flat[2] == ARGV[3] and other and #found < 2 then found[#found + 1] = key end
    end
  end
  if cursor == '0' then break end
end
return found
