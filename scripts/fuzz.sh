#!/usr/bin/env bash
# Fuzzes decoders and parsers, guided by coverage.
#
#   scripts/fuzz.sh                       every target, 60 seconds each
#   scripts/fuzz.sh all 3600              every target, an hour each: before a release
#   scripts/fuzz.sh command 600           one target
#   scripts/fuzz.sh again command FILE    one input, for a debugger or to see it mended
#   scripts/fuzz.sh list
#
# Begins with the seeds in tests/fuzz/seeds and what earlier runs have found (target/fuzz/corpus), which is kept as
# small as its coverage allows. An input that a target does not like is shown as a line: mend what is wrong, and add
# the line to the target's seeds, where the tests find it from then on.
#
# Needs a stable toolchain with a C++ compiler, and Python 3; installs cargo-fuzz where it is missing. Builds once,
# 10 minutes or so. Coverage comes from flags that the stable compiler keeps for itself, hence RUSTC_BOOTSTRAP;
# without a sanitizer, because there is no unsafe code of ours to watch. `--no-cfg-fuzzing`: some crates would
# weaken their checks under it.
set -euo pipefail
cd "$(dirname "$0")/.."

VERSION=0.13.2
FOLDER=$PWD/target/fuzz
export RUSTC_BOOTSTRAP=1 CARGO_TERM_COLOR=never

cargo_fuzz() {
  local command=$1
  shift
  cargo fuzz "$command" --fuzz-dir tests/fuzz --target-dir "$FOLDER" --sanitizer none --no-cfg-fuzzing "$@"
}

build() {
  if ! cargo fuzz --version > /dev/null 2>&1; then
    (unset RUSTC_BOOTSTRAP && cargo install --locked "cargo-fuzz@$VERSION")
  fi
  command -v c++ > /dev/null || { apt-get update -qq && apt-get install -y -qq g++; }
  # The same versions as in the program; cargo adds what only fuzzing needs.
  cp Cargo.lock tests/fuzz/Cargo.lock
  cargo_fuzz build one
  PROGRAM=$FOLDER/$(rustc -vV | sed -n 's/^host: //p')/release/one
}

run() {
  local target=$1 seconds=$2 corpus=$FOLDER/corpus/$1 new=$FOLDER/corpus/$1.new found=$FOLDER/found/$1
  [ -f "tests/fuzz/seeds/$target.txt" ] || { echo "there is no target $target" >&2; return 2; }
  mkdir -p "$corpus" "$found"
  python3 scripts/fuzz/seeds.py unpack "tests/fuzz/seeds/$target.txt" "$corpus"
  local log=$FOLDER/$target.log outcome=0
  CONCLAVE_FUZZ=$target "$PROGRAM" "$corpus" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 \
    -max_len=8192 -artifact_prefix="$found/" -print_final_stats=1 > "$log" 2>&1 || outcome=$?
  if [ "$outcome" -ne 0 ]; then
    echo "== $target: found something; see $log"
    grep -aE "panicked at|^==|ERROR|SUMMARY" -A 2 "$log" | head -n 20 || true
    find "$found" -type f -exec python3 scripts/fuzz/seeds.py show {} +
    return 1
  fi
  # What of it reaches as much as all of it.
  rm -rf "$new" && mkdir -p "$new"
  CONCLAVE_FUZZ=$target "$PROGRAM" -merge=1 "$new" "$corpus" >> "$log" 2>&1
  rm -rf "$corpus" && mv "$new" "$corpus"
  local runs edges
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | head -n 1)
  edges=$(grep -aoE 'cov: [0-9]+' "$log" | tail -n 1)
  printf '%-22s %10s runs in %s s, %s, %s inputs\n' "$target" "$runs" "$seconds" "$edges" \
    "$(find "$corpus" -type f | wc -l)"
}

case ${1:-all} in
  list)
    python3 scripts/fuzz/seeds.py targets
    ;;
  again)
    build
    CONCLAVE_FUZZ=$2 RUST_BACKTRACE=1 "$PROGRAM" "${@:3}"
    ;;
  all)
    build
    failed=0
    for target in $(python3 scripts/fuzz/seeds.py targets); do
      run "$target" "${2:-60}" || failed=1
    done
    exit "$failed"
    ;;
  *)
    build
    run "$1" "${2:-60}"
    ;;
esac
