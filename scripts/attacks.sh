#!/usr/bin/env bash
# Attacks whose figures depend on the machine, against three real nodes on loopback. What can be told without a clock is
# in tests/security.
#
#   scripts/attacks.sh [timing|storm|slow|swaps|schema]...      all but schema without arguments
#
# timing   500 sign-ins of a user that exists and 500 of one that does not, in turns: can the time tell them apart?
# storm    500 sign-ins at once for MINUTES (1): memory, /health, and who leads
# slow     1000 slow connections for SPAN seconds (40): /health, and when each is cut
# swaps    ten thousand requests of one account that name things of another (takes minutes, builds the tests)
# schema   requests made up from /openapi.json by schemathesis, which is installed beside the data; CASES (20) a route
#
# BIN is the program, target/release/conclave by default. Needs Python 3, and pip for schema.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
command -v python3 > /dev/null || die "this needs Python 3"

# What is attacked is the work, not the limits on it.
export CONCLAVE_RATE_LIMIT_LOGIN=off CONCLAVE_RATE_LIMIT_REFRESH=off CONCLAVE_RATE_LIMIT_SERVICE=off
export CONCLAVE_RATE_LIMIT_REGISTER=off CONCLAVE_RATE_LIMIT_API=off
export PYTHONDONTWRITEBYTECODE=1

prepare() {
  [ -z "${account:-}" ] || return 0
  [ -x "$bin" ] || (cd "$here" && cargo build --release)
  up "${PORT:-18280}"
  root='{"email":"root@attacks.test","password":"correct horse battery staple"}'
  account=$(expect 201 POST "${urls[0]}/iam/v1/SignUpAsRootUser" '' "$root" | member accountId)
  token=$(expect 200 POST "${urls[0]}/iam/v1/SignInAsRootUser" '' "$root" | member access_token)
  local user='{"name":"known","password":"correct horse battery staple"}'
  expect 201 POST "${urls[1]}/v1/accounts/$account/users" "$token" "$user" > /dev/null
  # A lock is an answer of its own; here it would only be in the way.
  expect 200 PATCH "${urls[1]}/v1/accounts/$account/settings" "$token" '{"lockout":{"failures":0,"lock_for_s":60}}' > /dev/null
  first=$(leader)
}

attack() { python3 "$here/scripts/attacks/$1.py" "${@:2}"; }

timing() { prepare; attack timing "${urls[0]}" "$account" "${SAMPLES:-500}"; }

storm() {
  prepare
  local before; before=$(members 1 | number term)
  attack storm "${urls[0]}" "$account" "$(pid_of 1)" "${MINUTES:-1}"
  local after; after=$(members 1 | number term)
  say "  node $(leader) leads; it was node $first; elections meanwhile: $((after - before))"
  [ "$before" = "$after" ] || die "there was an election"
}

slow() { prepare; attack slow "${urls[0]}" "${SPAN:-40}" "${CONNECTIONS:-1000}"; }

swaps() { (cd "$here" && CONCLAVE_SWAPS=${SWAPS:-10000} cargo test --locked --test it security::swaps); }

schema() {
  prepare
  python3 -m pip --version > /dev/null 2>&1 || die "this needs pip"
  python3 -m pip install --quiet --no-warn-conflicts --disable-pip-version-check --root-user-action=ignore \
    --target "$work/site" 'schemathesis==4.32.5'
  # Not those that stop a node, change who votes, or take the token away that this is done with.
  # It leaves what it saw in the folder where it runs.
  cd "$work" && PYTHONPATH=$work/site python3 -m schemathesis.cli run "${urls[0]}/openapi.json" --url "${urls[0]}" \
    --header "Authorization: Bearer $token" --max-examples "${CASES:-20}" --workers 1 --no-color \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --exclude-path-regex '^/v1/cluster/|/sessions' --suppress-health-check=all
}

[ $# -gt 0 ] || set -- timing storm slow swaps
for what in "$@"; do
  case $what in
    timing | storm | slow | swaps | schema) say "$what"; "$what" ;;
    *) die "no such attack: $what" ;;
  esac
done
say "done"
