#!/usr/bin/env bash
# Figures of three real nodes on this machine, each as a ratio to something known in the same run. Absolute
# figures of a shared machine mean nothing alone. Needs wrk (Debian: apt-get install wrk).
#
#   scripts/bench.sh [check|writes|signins|gap|handover|rolling|large]...
#
# `large` makes USERS users first (100000), which takes minutes: each password is hashed. Less, with
# CONCLAVE_ARGON2_MEMORY_KIB=7168 and CONCLAVE_ARGON2_ITERATIONS=1 in the environment.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
command -v wrk > /dev/null || die "wrk is not installed (Debian: apt-get install wrk)"
span=${SPAN:-5}
(cd "$here" && cargo build --release --examples --bins)
examples=$here/target/release/examples

# Requests a second that wrk saw; fails where a reply was not 2xx.
rate() {
  local out; out=$(wrk --latency "$@")
  if grep -q 'Non-2xx' <<< "$out"; then die "replies were refused: $(grep Non-2xx <<< "$out")"; fi
  latency=$(awk '/50%/ { p50 = $2 } /99%/ { p99 = $2 } END { print "p50 " p50 ", p99 " p99 }' <<< "$out")
  awk '/Requests\/sec/ { print $2 }' <<< "$out" > "$work/rate"
}
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }

# What is measured is the work, not the limits on it.
export CONCLAVE_RATE_LIMIT_LOGIN=off CONCLAVE_RATE_LIMIT_REFRESH=off CONCLAVE_RATE_LIMIT_SERVICE=off
export CONCLAVE_RATE_LIMIT_REGISTER=off CONCLAVE_RATE_LIMIT_API=off

prepare() {
  up "${PORT:-18080}"
  first=$(leader)
  lead=${urls[first - 1]}
  follow=${urls[first % 3]}
  root='{"email":"bench@example.com","password":"SecurePass123"}'
  account=$(expect 201 POST "$lead/iam/v1/SignUpAsRootUser" '' "$root" | member accountId)
  token=$(expect 200 POST "$lead/iam/v1/SignInAsRootUser" '' "$root" | member access_token)
  base=/v1/accounts/$account
  expect 201 POST "$lead$base/roles" "$token" '{"name":"deployer","permissions":["deploy:*"]}' > /dev/null
  user="{\"accountId\":\"$account\",\"email\":\"dev@example.com\",\"password\":\"DevPass456\"}"
  expect 201 POST "$lead/iam/v1/SignUpAsIAMUser" "$token" "$user" > /dev/null
  expect 200 PUT "$lead$base/users/dev@example.com/roles/deployer" "$token" > /dev/null
  user_token=$(expect 200 POST "$lead/iam/v1/SignInAsIAMUser" '' "$user" | member access_token)
}

check() {
  local path="$base/check?permission=deploy:prod" bare
  "$examples/bare" 18099 & local bare_pid=$!
  until_ok 5 curl -sf "http://127.0.0.1:18099$path"
  say "permission check, 64 connections, $span s each"
  rate -t1 -c64 -d"$span" "http://127.0.0.1:18099$path"; bare=$(cat "$work/rate")
  say "  bare warp route                $bare/s  $latency"
  for mode in bounded linearizable; do
    for where in leader follower; do
      local url=$lead; [ "$where" = leader ] || url=$follow
      rate -t1 -c64 -d"$span" -H "authorization: Bearer $user_token" -H "conclave-consistency: $mode" "$url$path"
      printf '  %-13s on the %-9s %s/s  %s  ratio %s\n' "$mode" "$where" "$(cat "$work/rate")" "$latency" "$(ratio "$(cat "$work/rate")" "$bare")"
    done
  done
  kill "$bare_pid"; wait "$bare_pid" 2> /dev/null || true
}

writes() {
  say "replicated writes (make a role, audited, synced on a majority), $span s each"
  local one
  for where in leader follower; do
    local url=$lead; [ "$where" = leader ] || url=$follow
    for connections in 1 16 64 256; do
      ACCOUNT=$account TOKEN=$token RUN="$where-$connections-$RANDOM" \
        rate -t1 -c"$connections" -d"$span" -s "$here/scripts/bench/write.lua" "$url"
      [ "$where-$connections" = leader-1 ] && one=$(cat "$work/rate")
      printf '  %-9s %4s connections  %s/s  %s  ratio to one on the leader %s\n' "$where" "$connections" "$(cat "$work/rate")" "$latency" "$(ratio "$(cat "$work/rate")" "$one")"
    done
  done
}

signins() {
  say "sign-ins with a password, 16 connections, $span s"
  local hashes; hashes=$("$examples/hashes")
  say "  bare hash pool   $hashes/s"
  BODY=$user rate -t1 -c16 -d"$span" -s "$here/scripts/bench/sign_in.lua" "$lead/iam/v1/SignInAsIAMUser"
  say "  sign-ins         $(cat "$work/rate")/s  $latency  ratio $(ratio "$(cat "$work/rate")" "$hashes")"
}

gap() {
  local rounds=${ROUNDS:-10} gaps=() round
  say "write gap after kill -9 of the leader, $rounds rounds"
  for ((round = 1; round <= rounds; round++)); do
    until_ok 10 test -n "$(leader)"
    local dead; dead=$(leader)
    local alive=${urls[dead % 3]} killed
    put() { curl -sf --max-time 0.3 -o /dev/null -X POST -H "authorization: Bearer $token" -H 'content-type: application/json' -d "{\"name\":\"gap-$round-$RANDOM-$RANDOM\"}" "$alive$base/roles"; }
    until_ok 10 put
    kill -9 "$(pid_of "$dead")"; killed=$(now_ms)
    until_ok 10 put || die "no write after the leader was killed"
    gaps+=("$(($(now_ms) - killed))")
    restart "$dead"
    back() { curl -sf --max-time 1 -o /dev/null "${urls[dead - 1]}/ready"; }
    until_ok 30 back || die "node $dead does not come back"
  done
  printf '%s\n' "${gaps[@]}" | sort -n | awk '{ all[NR] = $1 } END { printf "  p50 %d ms, max %d ms\n", all[int((NR + 1) / 2)], all[NR] }'
}

# Writers through all nodes while a command runs; prints what they saw. What failed, failed on two nodes in turn.
under_load() {
  local writing
  mkfifo "$work/go"
  TOKEN=$token python3 "$here/scripts/bench/load.py" 8 "$base/roles" "${urls[@]}" < "$work/go" > "$work/saw" &
  writing=$!
  exec 9> "$work/go"
  sleep 2
  "$@"
  sleep 1
  exec 9>&-
  wait "$writing"
  rm "$work/go"
  say "  $(cat "$work/saw")"
}

operator() { (cd "$work" && "$bin" "$1" --config "$work/dev/node-$2.toml" "${@:3}"); }
is_ready() { curl -sf --max-time 1 -o /dev/null "${urls[$1 - 1]}/ready"; }

handover() {
  local rounds=${ROUNDS:-10}
  say "hand-over by step-down, $rounds times, under 8 writers through all nodes"
  hand_over() { local round; for ((round = 0; round < rounds; round++)); do operator step-down 1 > /dev/null; sleep 1; done; }
  under_load hand_over
}

# Stops a node as an init system does, and starts it again.
restart_gently() {
  local pid; pid=$(pid_of "$1")
  kill "$pid"
  while kill -0 "$pid" 2> /dev/null; do sleep 0.02; done
  # Else the node holds the pipe open that tells the writers to go on.
  restart "$1" 9>&-
  until_ok 30 is_ready "$1" || die "node $1 does not come back"
}

rolling() {
  say "rolling restart of three nodes, under 8 writers through all nodes"
  roll() { local node; for node in 1 2 3; do restart_gently "$node"; done; }
  under_load roll
}

save_backup() { (cd "$work" && "$bin" backup save "$work/backup" --config "$work/dev/node-1.toml" > /dev/null); }
gone() { ! members 1 | grep -q "\"node\":$1,\"is_voter\""; }
seconds_since() { awk -v from="$1" -v to="$(now_ms)" 'BEGIN { printf "%.1f s", (to - from) / 1000 }'; }

# Kills a node and waits until the system has taken its locks back.
kill_dead() {
  local pid; pid=$(pid_of "$1")
  kill -9 "$pid"
  while kill -0 "$pid" 2> /dev/null; do sleep 0.02; done
}

# With many users: all nodes started at once, a node whose disk is gone, a backup.
large() {
  local users=${USERS:-100000} begun made=0
  begun=$(now_ms)
  while [ "$made" -lt "$users" ]; do
    ACCOUNT=$account TOKEN=$token RUN=$RANDOM$RANDOM wrk -t1 -c64 -d20 -s "$here/scripts/bench/users.lua" "$lead" > "$work/wrk"
    ! grep -q 'Non-2xx' "$work/wrk" || die "$(cat "$work/wrk")"
    made=$((made + $(awk '/requests in/ { print $1 }' "$work/wrk")))
  done
  say "$made users made in $(seconds_since "$begun")"
  local node pid
  for node in 1 2 3; do kill_dead "$node"; done
  begun=$(now_ms)
  for node in 1 2 3; do restart "$node"; done
  for node in 1 2 3; do until_ok 60 is_ready "$node" || { tail -n 5 "$work/dev/node-$node.log" >&2; die "node $node does not start"; }; done
  say "  cold start of all three after kill -9, until each is ready   $(seconds_since "$begun")"

  kill_dead 3
  rm -rf "$work/dev/node-3"
  operator replace 1 3 --no-wait --json | member token > "$work/token"
  begun=$(now_ms)
  (cd "$work" && exec "$bin" join - --config "$work/dev/node-3.toml" < "$work/token" >> "$work/dev/node-3.log" 2>&1) &
  printf '%s' "$!" > "$work/pid-3"
  until_ok 120 is_ready 3 || die "the new node has no place"
  say "  a new node in the place of a wiped one, until it votes       $(seconds_since "$begun")"
  until_ok 30 gone 3 || die "the node that was replaced is still there"

  local path="$base/check?permission=deploy:prod" before
  # The third place is that of node 4 now.
  first=$(leader)
  lead=${urls[(first > 3 ? 3 : first) - 1]}
  rate -t1 -c16 -d"$span" -H "authorization: Bearer $user_token" "$lead$path"; before="$(cat "$work/rate")/s, $latency"
  begun=$(now_ms)
  save_backup
  say "  backup of $(du -k "$work/backup" | cut -f1) kB                $(seconds_since "$begun")"
  repeat() { while [ -e "$work/go-on" ]; do save_backup; done; }
  touch "$work/go-on"
  repeat & pid=$!
  rate -t1 -c16 -d"$span" -H "authorization: Bearer $user_token" "$lead$path"
  rm "$work/go-on"; wait "$pid"
  say "  checks on the leader: $before; while backups are taken: $(cat "$work/rate")/s, $latency"
}

prepare
for figure in "${@:-check writes signins gap handover rolling}"; do
  for name in $figure; do "$name"; done
done
