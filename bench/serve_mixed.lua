-- Six routes in turn, over all concepts: wrk -t 2 -c 64 -d 60s -s bench/serve_mixed.lua ADDRESS -- STUDY CONCEPTS
local paths = {"/vec/activation/%d", "/concept/%d", "/concept/%d/genes?limit=100", "/concept/%d/terms", "/concept/%d/similar", "/concept/%d/cells"}
local root, concepts, i = "", 1, 0
function init(args)
  root = "/api/v1/s/" .. args[1]
  concepts = tonumber(args[2])
end
function request()
  i = i + 1
  return wrk.format("GET", root .. string.format(paths[i % #paths + 1], (i * 7919) % concepts))
end
