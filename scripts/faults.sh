#!/usr/bin/env bash
# Real faults on real processes: kills, pauses, cut networks, wrong clocks, under load that is written down and judged.
#
#   scripts/faults.sh [quick|full|NAME] [--runs N] [--seed N]     needs root and Linux; installs what is missing
#
# quick: the leader is killed, paused, cut off, made mute, and faults that overlap; full: everything. The program is $BIN,
# else the one of this folder, release where that was built. The table is kept in target/faults/report.txt, with the
# histories and logs of runs that failed.
set -euo pipefail
cd "$(dirname "$0")/.."

[ "$(id -u)" = 0 ] || { echo "scripts/faults.sh needs root, for network namespaces" >&2; exit 1; }

missing=()
for tool in ip:iproute2 tc:iproute2 nft:nftables nsenter:util-linux prlimit:util-linux faketime:faketime; do
  command -v "${tool%%:*}" > /dev/null || missing+=("${tool##*:}")
done
if [ ${#missing[@]} -gt 0 ]; then
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

program=${BIN:-}
if [ -z "$program" ] && [ -x target/release/conclave ]; then program=$PWD/target/release/conclave; fi
[ -n "$program" ] || { cargo build --bin conclave; program=$PWD/target/debug/conclave; }

# The last line names the binary that was built.
built=$(cargo test --test faults --no-run --message-format=json-render-diagnostics |
  sed -n 's/.*"kind":\["test"\].*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
[ -n "$built" ] || { echo "tests/faults was not built" >&2; exit 1; }
# A load that is smaller shows nothing. What is not optimised is slower.
floor=20
case $program in */release/*) floor=100 ;; esac
exec "$built" --program "$program" --floor "$floor" "$@"
