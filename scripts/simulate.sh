#!/usr/bin/env bash
# Runs the simulation of the cluster from many seeds, on all cores: scripts/simulate.sh [SEEDS] [FIRST]
#
# Each seed has a process of its own, in which even what the system would draw at random is fixed (a shim under
# getrandom: tokio and hash maps take their seeds from there). So a seed replays exactly: `scripts/simulate.sh 1 SEED`,
# with the same build. Prints a table of all runs to OUT (default: target/simulation.tsv), the sums, and the seeds that
# failed; fails when one did. Needs the Rust toolchain and a C compiler, which is installed where apt is there.
set -euo pipefail
cd "$(dirname "$0")/.."

SEEDS=${1:-200} FIRST=${2:-1} JOBS=${JOBS:-$(nproc)}
OUT=${OUT:-target/simulation.tsv}
TEST=testing::simulation::simulation_loses_nothing_that_was_acknowledged

command -v cc > /dev/null || { apt-get update -qq && apt-get install -y -qq gcc libc6-dev; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat > "$work/fixed.c" << 'C'
#include <stddef.h>
#include <string.h>
#include <sys/types.h>
ssize_t getrandom(void *buffer, size_t length, unsigned flags) {
    (void)flags;
    memset(buffer, 42, length);
    return (ssize_t)length;
}
C
cc -shared -fPIC -O1 -o "$work/fixed.so" "$work/fixed.c"

binary=${BIN:-}
if [ -z "$binary" ]; then
    # SCOPE=--workspace takes what `cargo test --workspace` has built.
    cargo test "${SCOPE:---package=conclave-cluster}" --lib --locked --no-run \
        --message-format=json-render-diagnostics > "$work/built"
    binary=$(sed -n 's/.*"executable":"\([^"]*\/conclave_cluster-[^"]*\)".*/\1/p' "$work/built" | tail -n 1)
fi

# One line for each seed: seed, ok or failed, what it came to.
cat > "$work/one.sh" << 'ONE'
#!/usr/bin/env bash
printed=$(LD_PRELOAD=$SHIM CONCLAVE_SIM_SEED=$1 RUST_BACKTRACE=0 timeout 600 "$BINARY" --exact "$TEST" --nocapture 2>&1)
status=$?
line=$(grep -a -m1 "^seed $1: " <<< "$printed" || tail -n 1 <<< "$printed")
line=${line#"seed $1: "}
if [ "$status" = 0 ]; then
    printf '%s\tok\t%s\n' "$1" "$line"
elif [[ $line == Ok* ]]; then
    # Nothing is wrong with a run in which little got through; it only shows nothing.
    printf '%s\tvoid\t%s\n' "$1" "$line"
else
    printf '%s\tfailed\t%s\n' "$1" "$line"
fi
ONE
chmod +x "$work/one.sh"

mkdir -p "$(dirname "$OUT")"
seq "$FIRST" $((FIRST + SEEDS - 1)) |
    SHIM=$work/fixed.so BINARY=$binary TEST=$TEST xargs -P "$JOBS" -n 1 "$work/one.sh" > "$OUT"

awk -F '\t' '
    function field(name, from) {
        if (!match(from, name ": [0-9]+")) return 0
        return substr(from, RSTART + length(name) + 2, RLENGTH - length(name) - 2)
    }
    { count[$2]++ }
    $2 != "failed" {
        acknowledged += field("acknowledged", $3); reads += field("reads", $3)
        healed = field("healed_ms", $3) + 0; if (healed > 2000) slow = slow " " $1 " (" healed " ms)"
    }
    $2 == "failed" { failed = failed "\n" $1 "  " $3 }
    END {
        printf "%8s %8s %8s %14s %10s\n", "seeds", "failed", "void", "acknowledged", "reads"
        printf "%8d %8d %8d %14d %10d\n", NR, count["failed"], count["void"], acknowledged, reads
        if (slow) print "served again after more than 2 s:" slow
        if (failed) print "failed:" failed
    }' "$OUT"
printf 'took %s s; all runs: %s\n' "$SECONDS" "$OUT"
! grep -q -P '^\d+\tfailed\t' "$OUT"
