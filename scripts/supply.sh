#!/usr/bin/env bash
# What the program is built of.
#
#   scripts/supply.sh             licences, bans and sources with cargo-deny, and advisories
#   scripts/supply.sh advisories  known holes only
#   scripts/supply.sh sbom        a bill of materials (CycloneDX 1.5, JSON) on standard output
#
# Rules are in .deny.toml. Installs cargo-deny where it is missing, which takes minutes: so this is not a part of
# .ci/run, where tests/it/supply.rs checks the short of it.
#
# Advisories need a copy of the RustSec database, a checkout of github.com/rustsec/advisory-db:
#   ADVISORY_DB=/path/to/advisory-db scripts/supply.sh
# Without one nothing is known of holes, and the script says so and fails unless NO_ADVISORIES=ok. That database
# does not know all that others do (CVE-2026-25537 of jsonwebtoken, for one): look through GitHub's as well.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never

DENY=0.20.2
AUDIT=0.22.2

rules() {
  cargo deny --version > /dev/null 2>&1 || cargo install --locked "cargo-deny@$DENY"
  cargo deny --all-features --locked --config .deny.toml check licenses bans sources
}

advisories() {
  if [ -z "${ADVISORY_DB:-}" ]; then
    printf '\n!! NO ADVISORIES WERE LOOKED AT: no ADVISORY_DB is given. Holes may be known in what we build of.\n\n' >&2
    [ "${NO_ADVISORIES:-}" = ok ]
    return
  fi
  [ -d "$ADVISORY_DB/crates" ] || { echo "$ADVISORY_DB is no copy of the RustSec database" >&2; return 2; }
  cargo audit --version > /dev/null 2>&1 || cargo install --locked "cargo-audit@$AUDIT"
  cargo audit --db "$ADVISORY_DB" --no-fetch --stale --deny warnings
}

case ${1:-all} in
  all) rules && advisories ;;
  advisories) advisories ;;
  sbom) python3 scripts/supply/sbom.py ;;
  *) sed -n '2,17s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
