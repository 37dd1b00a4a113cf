#!/usr/bin/env bash
# Figures of real nodes on this machine, each as a ratio to something known that is measured in the same run, in turns.
# Absolute figures of a shared machine mean nothing alone.
#
#   scripts/bench.sh              lists the benchmarks
#   scripts/bench.sh NAME...      runs them; figures also go to target/bench/NAME.json
#   scripts/bench.sh plot         draws those into docs/performance
#
# BIN is the program; without that it is built as for the image. What is missing is installed: wrk, etcd and argon2 by
# apt-get, the server that has_permission is compared with by pip, below target/bench. Ports from PORT (18080) on. More
# or less is measured by
#
#   SPAN      seconds of each measurement (5)             TIMES   how often gap kills and handover steps down (10)
#   ROUNDS    how often each is taken (3)                 COUNT   revocations (300)
#   SIZES     users for growth (1000,10000,100000)        TOKENS  new ones for each round of introspect (20000)
#   ACCOUNTS  the same of accounts (10,1000,10000)        USERS   for large (100000), for idle with LARGE=1 (1000000)
#
# A user takes about 2 ms to make: its password is hashed, though cheaply.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
venv=$here/target/bench/venv
export PYTHONDONTWRITEBYTECODE=1

die() { printf 'bench.sh: %s\n' "$*" >&2; exit 1; }

# Debian starts etcd as it installs it.
install_tools() {
  local missing=() was_there=
  command -v wrk > /dev/null || missing+=(wrk)
  command -v etcd > /dev/null && was_there=1 || missing+=(etcd-server)
  command -v etcdctl > /dev/null || missing+=(etcd-client)
  command -v argon2 > /dev/null || missing+=(argon2)
  [ "${#missing[@]}" -gt 0 ] || return 0
  command -v apt-get > /dev/null || die "these are missing: ${missing[*]}"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"; } > /dev/null 2>&1 ||
    die "apt-get does not install ${missing[*]}: are you root?"
  [ -n "$was_there" ] || service etcd stop > /dev/null 2>&1 || true
}

command -v python3 > /dev/null || die "this needs Python 3"
if [ $# -gt 0 ] && [ "$*" != plot ]; then
  install_tools
  if [ ! -x "$venv/bin/waitress-serve" ]; then
    python3 -m venv "$venv" || die "this needs the venv of Python"
    "$venv/bin/pip" install --quiet --disable-pip-version-check 'auth==3.7.1' waitress
  fi
  [ -n "${BIN:-}" ] || "$here/scripts/image.sh" binary
fi
if [ $# -gt 0 ]; then
  (cd "$here" && cargo build --quiet --release --locked --examples)
fi
export BIN=${BIN:-$here/target/release/conclave}
exec python3 "$here/scripts/bench/main.py" "$@"
