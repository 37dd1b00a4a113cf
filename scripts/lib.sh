# shellcheck shell=bash
# What the scripts share: a cluster of real processes on loopback, and reading replies without a JSON tool.
# Sourced, not run. Needs bash and curl.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=${BIN:-$here/target/release/conclave}

say() { printf '%s\n' "$*"; }
die() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

# The text member "$1" of the JSON on standard input.
member() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" | head -n 1; }
# The number member "$1".
number() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p" | head -n 1; }

# ask METHOD URL [TOKEN] [BODY]: prints the body; the status is in $status_file.
ask() {
  local args=(-sS --max-time 10 -X "$1" -o - -w '\n%{http_code}')
  [ -n "${3:-}" ] && args+=(-H "authorization: Bearer $3")
  [ -n "${4:-}" ] && args+=(-H 'content-type: application/json' -d "$4")
  local reply
  reply=$(curl "${args[@]}" "$2") || reply=$'\n000'
  printf '%s' "${reply##*$'\n'}" > "$status_file"
  printf '%s' "${reply%$'\n'*}"
}

# expect STATUS METHOD URL [TOKEN] [BODY]: as ask, and fails on another status.
expect() {
  local want=$1; shift
  local body; body=$(ask "$@")
  local got; got=$(cat "$status_file")
  [ "$got" = "$want" ] || die "$1 $2 answered $got, not $want: $body"
  printf '%s' "$body"
}

# until_ok SECONDS COMMAND...: tries until it succeeds.
until_ok() {
  local end=$((SECONDS + $1)); shift
  until "$@" > /dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.05
  done
}

now_ms() { date +%s%3N; }

# up PORT [NODES]: starts a cluster under $work; its URLs are in $urls.
up() {
  port=$1 nodes=${2:-3}
  urls=()
  for ((i = 0; i < nodes; i++)); do urls+=("http://127.0.0.1:$((port + i))"); done
  "$bin" dev --nodes "$nodes" --port "$port" --data "$work/dev" > "$work/dev.log" 2>&1 < /dev/null &
  dev_pid=$!
  until_ok 60 grep -q 'Ctrl-C' "$work/dev.log" || { cat "$work/dev.log"; die "the cluster did not start"; }
}

# The process id of node $1 (from 1), as `dev` printed it, or as it was started again.
pid_of() { cat "$work/pid-$1" 2> /dev/null || awk -v node="$1" '$1 == node { print $4 }' "$work/dev.log"; }

# What node $1 says of itself and the cluster, as JSON.
members() { (cd "$work" && "$bin" members --json --config "$work/dev/node-$1.toml"); }

leader() { for ((i = 1; i <= nodes; i++)); do members "$i" 2> /dev/null | number leader && return; done; }

# restart NODE: starts a node again that was killed.
restart() {
  (cd "$work" && exec "$bin" start --config "$work/dev/node-$1.toml" >> "$work/dev/node-$1.log" 2>&1 < /dev/null) &
  printf '%s' "$!" > "$work/pid-$1"
}

down() {
  local node
  for node in 1 2 3 4 5; do
    [ -f "$work/pid-$node" ] || continue
    kill "$(cat "$work/pid-$node")" 2> /dev/null && wait "$(cat "$work/pid-$node")" 2> /dev/null
  done
  [ -n "${dev_pid:-}" ] && kill "$dev_pid" 2> /dev/null && wait "$dev_pid" 2> /dev/null
  rm -rf "$work"
}

work=$(mktemp -d)
status_file=$work/status
trap down EXIT
