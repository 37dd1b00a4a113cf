#!/usr/bin/env bash
# The main story against three real processes: sign up through a follower, sign in on the third node, check,
# kill -9 the leader, go on, revoke on one node, refused on all, restart, equal digests.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
[ -x "$bin" ] || (cd "$here" && cargo build --release)

up "${PORT:-18080}"
first=$(leader)
followers=()
for i in 1 2 3; do [ "$i" = "$first" ] || followers+=("$i"); done
lead=${urls[first - 1]} one=${urls[followers[0] - 1]} two=${urls[followers[1] - 1]}
say "three nodes; node $first leads"

root='{"email":"alice@example.com","password":"SecurePass123"}'
record=$(expect 201 POST "$one/iam/v1/SignUpAsRootUser" '' "$root")
account=$(member accountId <<< "$record")
say "signed up through follower ${followers[0]}: account $account"

root_token=$(expect 200 POST "$two/iam/v1/SignInAsRootUser" '' "$root" | member access_token)
say "signed in on follower ${followers[1]}"

user="{\"accountId\":\"$account\",\"email\":\"dev@example.com\",\"password\":\"DevPass456\"}"
expect 201 POST "$lead/iam/v1/SignUpAsIAMUser" "$root_token" "$user" > /dev/null
token=$(expect 200 POST "$one/iam/v1/SignInAsIAMUser" '' "$user" | member access_token)
base=/v1/accounts/$account
expect 201 POST "$two$base/roles" "$root_token" '{"name":"deployer","permissions":["deploy:*"]}' > /dev/null
expect 200 PUT "$one$base/users/dev@example.com/roles/deployer" "$root_token" > /dev/null
for url in "${urls[@]}"; do
  expect 200 GET "$url$base/check?permission=deploy:prod" "$token" | grep -q '"allowed":true' || die "not allowed on $url"
done
say "made a user, a role and a membership; all three nodes allow what the role allows"

# A node that does not know it yet could only answer late or 503: wait for a good answer, at most 2 s.
allowed() { [ "$(ask GET "$1$base/check?permission=deploy:prod" "$token" | number allowed; cat "$status_file")" = 200 ]; }
kill -9 "$(pid_of "$first")"
killed=$(now_ms)
for url in "$one" "$two"; do
  until_ok 5 allowed "$url" || die "the token does not work on $url after the leader was killed"
done
took=$(($(now_ms) - killed))
[ "$took" -le 2000 ] || die "the token worked again only after $took ms"
say "killed node $first with -9; the token works on both others after $took ms"

made() { ask POST "$two$base/roles" "$root_token" '{"name":"made-after"}' > /dev/null; [ "$(cat "$status_file")" = 201 ]; }
until_ok 5 made || die "no write after the leader was killed"
say "writes go on; node $(leader) leads now"

restart "$first"
ready() { ask GET "$1/ready" > /dev/null; [ "$(cat "$status_file")" = 200 ]; }
until_ok 30 ready "$lead" || die "node $first does not come back"
say "node $first is back"

expect 200 POST "$one$base/tokens/revoke" '' "{\"token\":\"$token\"}" > /dev/null
for url in "${urls[@]}"; do
  expect 401 GET "$url$base/users/me" "$token" > /dev/null
done
say "revoked on one node; the next request is refused on all three"

same() {
  local first_digest digest i
  first_digest=$(members 1 | member digest)
  for i in 2 3; do
    digest=$(members "$i" | member digest)
    [ "$digest" = "$first_digest" ] || return 1
  done
}
until_ok 10 same || die "the digests differ: $(for i in 1 2 3; do members $i | member digest; done)"
say "all three have digest $(members 1 | member digest) at revision $(members 1 | number revision)"
say "smoke: 1 passed, 0 failed"
