#!/usr/bin/env bash
# What disks do to nodes: power cuts, full, slow, hung and failing disks, on real processes whose data lies on file
# systems of their own. Needs root and loop devices; installs what it needs.
#
#   scripts/power.sh quick              a few cycles of each (CI)
#   scripts/power.sh full               as many as the figures in the README come from
#   scripts/power.sh NAME[,NAME] [N]    one kind, N cycles; the names are in scripts/power/main.py
#
# BIN is the program (target/release/conclave), SEED what chance begins with, PORT where the ports begin (21000).
set -euo pipefail
cd "$(dirname "$0")/.."
die() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

[ "$#" -ge 1 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2; }
export BIN=${BIN:-$PWD/target/release/conclave}
[ -x "$BIN" ] || die "no program at $BIN: cargo build --release, or set BIN"
[ "$(id -u)" = 0 ] || die "needs root, to mount file systems"
missing=()
command -v xfs_io > /dev/null || missing+=(xfsprogs)
command -v mkfs.ext4 > /dev/null || missing+=(e2fsprogs)
command -v strace > /dev/null || missing+=(strace)
command -v python3 > /dev/null || missing+=(python3)
command -v fsfreeze > /dev/null || missing+=(util-linux)
if [ "${#missing[@]}" -gt 0 ]; then
  (apt-get update -qq && apt-get install -y -qq "${missing[@]}") > /dev/null || die "cannot install ${missing[*]}"
fi
exec python3 -B scripts/power/main.py "$1" "${2:-0}"
