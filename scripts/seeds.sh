#!/usr/bin/env bash
# The examples of the five seed systems, as docs/coming-from/ tells them, against a fresh cluster of three real
# processes, each page once on each node. Fails on any difference from what a page says is printed.
# Needs Python 3 with pip: the clients themselves (httpx, auth) are installed beside the cluster's data.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
[ -x "$bin" ] || (cd "$here" && cargo build --release)
python3 -m pip --version > /dev/null 2>&1 || die "this needs Python 3 with pip"

# The versions that the pages were written for; 2.0.0 is the last auth whose client is the README's.
python3 -m pip install --quiet --no-warn-conflicts --disable-pip-version-check --root-user-action=ignore \
  --target "$work/site" 'httpx==0.28.1' 'auth==2.0.0'

export CONCLAVE_BOOTSTRAP_ADMIN_USERNAME=boss CONCLAVE_BOOTSTRAP_ADMIN_EMAIL=boss@example.com
CONCLAVE_BOOTSTRAP_ADMIN_PASSWORD=$(od -An -N18 -tx1 /dev/urandom | tr -d ' \n')Aa!
export CONCLAVE_BOOTSTRAP_ADMIN_PASSWORD
up "${PORT:-18180}"
KEYSTONE_ADMIN=$CONCLAVE_BOOTSTRAP_ADMIN_USERNAME KEYSTONE_PASSWORD=$CONCLAVE_BOOTSTRAP_ADMIN_PASSWORD
export KEYSTONE_ADMIN KEYSTONE_PASSWORD

# What the page on KatamariIAM calls setting up: a program with a key that may manage users and roles.
base=${urls[0]}/v1/accounts/default
signed_in() {
  token=$(ask POST "$base/sign-in" '' "{\"login\":\"$KEYSTONE_ADMIN\",\"password\":\"$KEYSTONE_PASSWORD\"}" | member access_token)
  [ -n "$token" ]
}
until_ok 20 signed_in || die "the first administrator does not sign in"
signed_in
CONCLAVE_API_KEY=$(expect 201 POST "$base/service-accounts" "$token" '{"name":"katamari","roles":["admin"]}' | member api_key)
CONCLAVE_URLS=$(IFS=,; printf '%s' "${urls[*]}")
export CONCLAVE_API_KEY CONCLAVE_URLS
say "three nodes, their first administrator, and a key for a program"

export PYTHONPATH=$work/site:$here/scripts/seeds PYTHONDONTWRITEBYTECODE=1
failed=0
for page in "$here"/docs/coming-from/*.md; do
  python3 "$here/scripts/seeds/pages.py" "$page" "${urls[@]}" || failed=1
done
[ "$failed" = 0 ] || die "an example prints something else than its page says"
say "seeds: all pages hold on all nodes"
