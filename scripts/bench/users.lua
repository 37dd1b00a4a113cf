-- Each request makes a user of its own. ACCOUNT, TOKEN and RUN come from the environment.
local account, token, run = os.getenv("ACCOUNT"), os.getenv("TOKEN"), os.getenv("RUN")
local n = 0
wrk.headers["authorization"] = "Bearer " .. token
wrk.headers["content-type"] = "application/json"
function request()
  n = n + 1
  local body = '{"name":"u-' .. run .. "-" .. n .. '","password":"a long and unusual sentence"}'
  return wrk.format("POST", "/v1/accounts/" .. account .. "/users", nil, body)
end
