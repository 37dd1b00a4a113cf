#!/usr/bin/env bash
# A rolling upgrade of three real nodes under load, from the program before this one to this one: mixed versions
# serve, what is acknowledged stays, a node may go back until all are new, what is new is refused until then and
# works right after, and the old program does not start on what the new one wrote.
#
# OLD and NEW are two programs. By default both are built from this tree, OLD with the feature `previous-level`;
# OLD may as well be a release. Needs bash and curl.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

if [ -z "${NEW:-}" ] || [ -z "${OLD:-}" ]; then
  # One folder of builds serves both, so what they share is built once; the program is copied out of it.
  built() { (cd "$here" && cargo build --locked --bin conclave "$@" >&2) && cp "$here/target/debug/conclave" "$work/$name"; }
  [ -n "${OLD:-}" ] || { name=old built --features previous-level; OLD=$work/old; }
  [ -n "${NEW:-}" ] || { name=new built; NEW=$work/new; }
fi
for program in "$OLD" "$NEW"; do [ -x "$program" ] || die "no program at $program"; done
bin=$NEW
stop_all() { touch "$work/enough"; wait ${load_pid:+"$load_pid"} || true; down; }
trap stop_all EXIT
port=${PORT:-18180} nodes=3
urls=()
for i in 0 1 2; do urls+=("http://127.0.0.1:$((port + i))"); done

# run NODE PROGRAM: starts a node, as often as it takes while its ports are let go of.
run() {
  (cd "$work" && exec "$2" start --config "$work/dev/node-$1.toml" >> "$work/dev/node-$1.log" 2>&1 < /dev/null) &
  printf '%s' "$!" > "$work/pid-$1"
}
ready() { ask GET "${urls[$1 - 1]}/ready" > /dev/null; [ "$(cat "$status_file")" = 200 ]; }
# halt NODE: stops it gracefully.
halt() {
  local pid; pid=$(cat "$work/pid-$1")
  kill -TERM "$pid"
  wait "$pid" 2> /dev/null || die "node $1 did not stop cleanly: $(tail -n 5 "$work/dev/node-$1.log")"
  rm "$work/pid-$1"
}
# change NODE PROGRAM WHAT: the node goes on with another program.
change() {
  local begun; begun=$(now_ms)
  halt "$1"
  run "$1" "$2"
  until_ok 30 ready "$1" || { tail -n 20 "$work/dev/node-$1.log" >&2; die "node $1 is not ready with $3"; }
  say "node $1 runs $3; away for $(($(now_ms) - begun)) ms"
}

"$OLD" prepare --nodes 3 --port "$port" --data "$work/dev" > /dev/null
for node in 1 2 3; do run "$node" "$OLD"; done
for node in 1 2 3; do until_ok 30 ready "$node" || die "node $node does not start: $(tail -n 5 "$work/dev/node-$node.log")"; done
say "three nodes run the old program; node $(leader) leads"

root='{"email":"alice@example.com","password":"SecurePass123"}'
account=$(expect 201 POST "${urls[0]}/iam/v1/SignUpAsRootUser" '' "$root" | member accountId)
token=$(expect 200 POST "${urls[1]}/iam/v1/SignInAsRootUser" '' "$root" | member access_token)
base=/v1/accounts/$account

# Writes one thing after the other, each at the next node, and the same again at another one when it gets no good
# answer. What was acknowledged is in `acknowledged`, what was not after five tries in `failed`.
load() {
  local n=0 try code
  while [ ! -e "$work/enough" ]; do
    while [ -e "$work/pause" ] && [ ! -e "$work/enough" ]; do sleep 0.05; done
    n=$((n + 1))
    for try in 0 1 2 3 4; do
      code=$(curl -sS --max-time 6 -o /dev/null -w '%{http_code}' -X POST -H "authorization: Bearer $token" \
        -H "idempotency-key: load-$n" -H 'content-type: application/json' -d "{\"name\":\"role-$n\"}" \
        "${urls[(n + try) % 3]}$base/roles" 2> /dev/null) || code=000
      case $code in 201) echo "role-$n" >> "$work/acknowledged"; continue 2 ;; esac
      [ "$try" = 0 ] && echo "role-$n $code" >> "$work/retried"
      sleep 0.2
    done
    echo "role-$n $code" >> "$work/failed"
  done
}
: > "$work/acknowledged"; : > "$work/retried"; : > "$work/failed"
load &
load_pid=$!
until_ok 10 test -s "$work/acknowledged" || die "no load"

# All nodes write, and show at once what was written on another.
serves() {
  local node other name
  for node in 1 2 3; do
    other=$((node % 3 + 1)) name="$1-$node"
    expect 201 POST "${urls[node - 1]}$base/roles" "$token" "{\"name\":\"$name\"}" > /dev/null
    expect 200 GET "${urls[other - 1]}$base/roles/$name" "$token" > /dev/null
    echo "$name" >> "$work/acknowledged"
  done
}
# A kind of command that the old program does not know: a join token.
refuses() {
  said() { "$NEW" token create --config "$work/dev/node-$1.toml" > "$work/said" 2>&1 && die "done, which the old program cannot"; }
  refused() { ! said "$1" && grep -q 'being upgraded: node [0-9] runs' "$work/said"; }
  until_ok 10 refused "$1" || die "not refused in so many words: $(cat "$work/said")"
  say "node $1 refuses what is new: $(cat "$work/said")"
}
digest_of() { members "$1" | member digest; }
same() {
  local digest; digest=$(digest_of 1)
  [ -n "$digest" ] && [ "$digest" = "$(digest_of 2)" ] && [ "$digest" = "$(digest_of 3)" ]
}

first=$(leader)
order=()
for node in 1 2 3; do [ "$node" = "$first" ] || order+=("$node"); done
change "${order[0]}" "$NEW" 'the new program'
serves mixed-one
refuses "${order[0]}"
change "${order[0]}" "$OLD" 'the old program again: until all are new, it can'
change "${order[0]}" "$NEW" 'the new program'
change "${order[1]}" "$NEW" 'the new program'
serves mixed-two
refuses "${order[1]}"
touch "$work/pause"
until_ok 10 same || die "the digests differ with two programs: $(for i in 1 2 3; do digest_of "$i"; done)"
say "with two programs all three have digest $(digest_of 1)"
rm "$work/pause"
change "$first" "$NEW" 'the new program'

begun=$(now_ms)
risen() { "$NEW" token create --config "$work/dev/node-1.toml"; }
until_ok 30 risen || { risen || true; die "the level does not rise"; }
say "all run the new program; what is new works after $(($(now_ms) - begun)) ms, by itself"
serves after
touch "$work/enough"
wait "$load_pid"

for node in 1 2 3; do
  cursor='' : > "$work/found"
  while :; do
    page=$(expect 200 GET "${urls[node - 1]}$base/roles?limit=100${cursor:+&cursor=$cursor}" "$token")
    grep -o '"name":"[^"]*"' <<< "$page" | cut -d'"' -f4 >> "$work/found"
    cursor=$(member next_cursor <<< "$page")
    [ -n "$cursor" ] || break
  done
  lost=$(comm -23 <(sort "$work/acknowledged") <(sort "$work/found"))
  [ -z "$lost" ] || die "node $node lost what was acknowledged: $lost"
done
say "$(wc -l < "$work/acknowledged") writes acknowledged, all there on all nodes;" \
  "$(wc -l < "$work/retried") went to a second node, $(wc -l < "$work/failed") failed"
[ ! -s "$work/failed" ] || die "writes failed for good: $(cat "$work/failed")"
until_ok 10 same || die "the digests differ: $(for i in 1 2 3; do digest_of "$i"; done)"
say "all three have digest $(digest_of 1)"

halt 3
said=$(cd "$work" && timeout 30 "$OLD" start --config "$work/dev/node-3.toml" 2>&1 < /dev/null) && die "the old program starts on new data"
grep -qE 'newer release|newer than this program' <<< "$said" || die "not refused in so many words: $said"
say "the old program does not start any more: $(tail -n 1 <<< "$said")"
run 3 "$NEW"
until_ok 30 ready 3 || die "node 3 does not come back after the old program was tried"
until_ok 10 same || die "the digests differ after the old program was tried"
say "upgrade: 1 passed, 0 failed"
