-- Each request makes a role of its own. ACCOUNT, TOKEN and RUN come from the environment.
local account, token, run = os.getenv("ACCOUNT"), os.getenv("TOKEN"), os.getenv("RUN")
local n, bad = 0, 0
wrk.headers["authorization"] = "Bearer " .. token
wrk.headers["content-type"] = "application/json"
function request()
  n = n + 1
  local body = '{"name":"r-' .. run .. "-" .. n .. '","permissions":["p:read"]}'
  return wrk.format("POST", "/v1/accounts/" .. account .. "/roles", nil, body)
end
