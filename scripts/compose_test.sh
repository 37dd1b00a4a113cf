#!/usr/bin/env bash
# The story of docker-compose.cluster.yml, in real containers and under the control of scripts/cluster.sh: all nodes
# start at once and make one cluster; each takes writes; one is killed, one (the leader, too) is cut off and must refuse
# while the others go on; a rolling restart under writes loses nothing; data outlives down and up, and goes with
# `down --volumes`.
#
# Needs a Docker engine with Compose, and curl. Without an engine nothing of this can be shown, so it fails, unless
# NO_DOCKER=ok says that this is known. Builds its own image from target/release/conclave, or from BIN=FILE; a cluster
# or image of yours is not touched. PORT [18480] and the two above must be free.
set -euo pipefail
source "$(dirname "$0")/lib.sh"

if ! docker version > /dev/null 2>&1; then
  printf '%s\n' '' \
    '  ************************************************************************' \
    '  **  NOT RUN: there is no Docker engine. Nothing was shown about       **' \
    '  **  containers: not the image, not the compose file, not cluster.sh.  **' \
    '  ************************************************************************' '' >&2
  [ "${NO_DOCKER:-}" = ok ] && exit 0
  die "start a Docker engine, or say NO_DOCKER=ok to go on without this test"
fi

export CLUSTER_PROJECT=conclave-test-$$ CLUSTER_PORT=${PORT:-18480}
export CLUSTER_IMAGE=conclave-test-$$ CLUSTER_SECRETS=$work/secrets
urls=("http://127.0.0.1:$CLUSTER_PORT" "http://127.0.0.1:$((CLUSTER_PORT + 1))" "http://127.0.0.1:$((CLUSTER_PORT + 2))")

cluster() { "$here/scripts/cluster.sh" "$@"; }
quietly() { cluster "$@" > "$work/said" 2>&1 || { cat "$work/said" >&2; die "cluster.sh $*"; }; }

clean() {
  local status=$?
  trap '' INT TERM
  [ -z "${writer:-}" ] || kill "$writer" 2> /dev/null || true
  [ "$status" = 0 ] || timeout 20 "$here/scripts/cluster.sh" status >&2 || true
  cluster down --volumes --yes > /dev/null 2>&1 || true
  docker image ls -q "$CLUSTER_IMAGE" | sort -u | xargs -r docker image rm -f > /dev/null 2>&1 || true
  rm -rf "$work"
  exit "$status"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The id of the container of node $1.
container() {
  docker ps -aq --filter "label=com.docker.compose.project=$CLUSTER_PROJECT" --filter "label=com.docker.compose.service=node-$1"
}
# The place (1 to 3) of the container that leads. Nodes and containers need not have the same numbers.
leader_place() {
  local place answer
  for place in 1 2 3; do
    answer=$(docker exec "$(container "$place")" /conclave members --json 2> /dev/null) || continue
    # What the node says of itself, not of the members.
    answer=${answer%%\"members\"*}
    if [ "$(number node <<< "$answer")" = "$(number leader <<< "$answer")" ]; then printf '%s' "$place"; return; fi
  done
  return 1
}
others_of() { local place; for place in 1 2 3; do [ "$place" = "$1" ] || printf '%s ' "$place"; done; }

base=''
# write URL NAME: makes a role, and succeeds when that was acknowledged.
write() {
  ask POST "$1$base/roles" "$token" "{\"name\":\"$2\"}" > "$work/written-$2"
  local got; got=$(cat "$status_file")
  rm -f "$work/written-$2"
  [ "$got" = 201 ]
}
# has URL NAME: whether a linearizable read finds the role.
has() { ask GET "$1$base/roles/$2" "$token" > /dev/null; [ "$(cat "$status_file")" = 200 ]; }
everywhere() { local url; for url in "${urls[@]}"; do has "$url" "$1" || die "$1 is not on $url: status $(cat "$status_file")"; done; }

say "image"
"$here/scripts/image.sh" "$CLUSTER_IMAGE"

# Bad input first: it must say what is wrong and change nothing.
refuses() {
  local text=$1; shift
  if cluster "$@" > "$work/said" 2>&1; then die "cluster.sh $* was not refused"; fi
  grep -qF -- "$text" "$work/said" || { cat "$work/said" >&2; die "cluster.sh $* does not say: $text"; }
}
refuses "is not up" status
refuses "is not up" kill 1
refuses "there is no node '4'" kill 4
refuses "say which node" partition
refuses "is not up" rolling-restart
mkdir "$CLUSTER_SECRETS"
refuses "without authority.pem" up
rmdir "$CLUSTER_SECRETS"
[ -z "$(container 1)" ] || die "a refused command made a container"

say "all three at once"
began=$(now_ms)
quietly up
say "  one cluster of three voters after $(($(now_ms) - began)) ms"
for place in 1 2 3; do
  until_ok 40 bash -c "docker inspect -f '{{.State.Health.Status}}' $(container "$place") | grep -qx healthy" ||
    die "node $place does not become healthy"
  [ "$(docker inspect -f '{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}' "$(container "$place")")" = \
    '10001:10001 true [ALL]' ] || die "node $place has more rights than it should"
done
say "  all healthy, by the image's own check"
quietly up
say "  'up' again changes nothing"

root='{"email":"alice@example.com","password":"SecurePass123"}'
account=$(expect 201 POST "${urls[0]}/iam/v1/SignUpAsRootUser" '' "$root" | member accountId)
token=$(expect 200 POST "${urls[1]}/iam/v1/SignInAsRootUser" '' "$root" | member access_token)
base=/v1/accounts/$account
for place in 1 2 3; do write "${urls[place - 1]}" "through-$place" || die "node $place takes no write: $(cat "$status_file")"; done
for place in 1 2 3; do everywhere "through-$place"; done
say "each node takes writes, all nodes show them"

victim=$(leader_place)
read -r one two <<< "$(others_of "$victim")"
quietly kill "$victim"
until_ok 10 write "${urls[one - 1]}" after-kill || die "no write after the leader was killed"
has "${urls[two - 1]}" after-kill || die "the other node does not show it"
sleep 1
[ "$(docker inspect -f '{{.State.Status}}' "$(container "$victim")")" = exited ] || die "the killed node came back by itself"
refuses "is not ready" rolling-restart
quietly heal
everywhere after-kill
say "killed the leader (node $victim): the others went on, and it has everything after 'heal'"

# A node that is cut off must refuse, within its deadline of 5 s and a little for the way.
cut() {
  local role=$1 victim=$2 one two began took
  read -r one two <<< "$(others_of "$victim")"
  quietly partition "$victim"
  began=$(now_ms)
  if write "${urls[victim - 1]}" "cut-$role"; then die "the cut-off $role acknowledged a write"; fi
  [ "$(cat "$status_file")" = 503 ] || die "the cut-off $role answered a write with $(cat "$status_file"), not 503"
  took=$(($(now_ms) - began))
  [ "$took" -le 7000 ] || die "the cut-off $role took $took ms to refuse a write"
  if has "${urls[victim - 1]}" through-1; then die "the cut-off $role answered a linearizable read"; fi
  [ "$(cat "$status_file")" = 503 ] || die "the cut-off $role answered a read with $(cat "$status_file"), not 503"
  [ "$(ask GET "${urls[victim - 1]}/health" > /dev/null; cat "$status_file")" = 200 ] || die "the cut-off $role is not reachable"
  until_ok 10 write "${urls[one - 1]}" "beside-$role" || die "the others do not go on without the $role"
  has "${urls[two - 1]}" "beside-$role" || die "the others do not agree without the $role"
  quietly heal
  everywhere "beside-$role"
  say "cut the $role off (node $victim): it refused a write after $took ms, and reads; the others went on"
}
lead=$(leader_place)
read -r follower _ <<< "$(others_of "$lead")"
cut follower "$follower"
cut leader "$(leader_place)"

# Writes all the while, each tried once more on the next node if the first did not acknowledge it.
write_on() {
  status_file=$work/writer-status
  local i
  for ((i = 0; ; i++)); do
    if write "${urls[i % 3]}" "roll-$i" || write "${urls[(i + 1) % 3]}" "roll-$i" || [ "$(cat "$status_file")" = 409 ]; then
      printf '%s\n' "roll-$i" >> "$work/acknowledged"
    else
      printf 'roll-%s: %s\n' "$i" "$(cat "$status_file")" >> "$work/not-acknowledged"
    fi
  done
}
: > "$work/acknowledged"
: > "$work/not-acknowledged"
# What curl says of nodes that are restarting is no news.
write_on 2> /dev/null &
writer=$!
before=$(container 1)
quietly rolling-restart
kill "$writer"
wait "$writer" 2> /dev/null || true
writer=''
[ "$(container 1)" != "$before" ] || die "the rolling restart did not replace the container"
while read -r name; do has "${urls[0]}" "$name" || die "$name was acknowledged and is lost"; done < "$work/acknowledged"
written=$(wc -l < "$work/acknowledged")
[ "$written" -gt 20 ] || die "only $written writes during the rolling restart"
say "rolling restart under writes: $written acknowledged and all there, $(wc -l < "$work/not-acknowledged") not acknowledged after one retry"

quietly down
[ -z "$(container 1)" ] || die "down left a container"
mv "$CLUSTER_SECRETS" "$work/elsewhere"
refuses "the secrets are missing" up
mv "$work/elsewhere" "$CLUSTER_SECRETS"
quietly up
everywhere through-1
everywhere "$(tail -n 1 "$work/acknowledged")"
say "down and up: everything is there; without the secrets 'up' refuses"

if cluster down --volumes < /dev/null > "$work/said" 2>&1; then die "down --volumes did not ask"; fi
everywhere through-1
quietly down --volumes --yes
[ -z "$(docker volume ls -q --filter "label=com.docker.compose.project=$CLUSTER_PROJECT")" ] || die "a volume is left"
[ -z "$(docker network ls -q --filter "label=com.docker.compose.project=$CLUSTER_PROJECT")" ] || die "a network is left"
say "down --volumes asks, and leaves nothing"
say "compose: 1 passed, 0 failed"
