#!/usr/bin/env bash
# A cluster of three containers on this machine, as docker-compose.cluster.yml describes it.
#
#   scripts/cluster.sh up                  builds and makes what is missing, starts, waits until all nodes are ready
#   scripts/cluster.sh status              containers, who is ready, who is cut off, members
#   scripts/cluster.sh logs [N]            what the nodes log, or node N; ends with Ctrl-C
#   scripts/cluster.sh kill N              kills node N at once, as a power cut would; it stays down until `heal`
#   scripts/cluster.sh partition N         cuts node N off the others; clients still reach it
#   scripts/cluster.sh heal                ends all cuts, starts what was killed, waits until all nodes are ready
#   scripts/cluster.sh rolling-restart     replaces one container after the other, also by a newer image or new secrets
#   scripts/cluster.sh down [--volumes]    stops and removes the containers; --volumes (it asks) also the data
#
# From the environment: CLUSTER_PORT, HTTP of node 1 [8080], the others follow; CLUSTER_PROJECT, a name that keeps
# clusters apart [conclave]; CLUSTER_SECRETS, the folder of the secrets [cluster-secrets, beside this file's folder];
# CLUSTER_IMAGE [conclave].
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)

nodes=(1 2 3)
port=${CLUSTER_PORT:-8080}
project=${CLUSTER_PROJECT:-conclave}
image=${CLUSTER_IMAGE:-conclave}
secrets=${CLUSTER_SECRETS:-$here/cluster-secrets}
# How long a node may take to be ready.
patience=${CLUSTER_PATIENCE:-120}

say() { printf '%s\n' "$*"; }
die() { printf 'cluster.sh: %s\n' "$*" >&2; exit 1; }
usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2; }

# Compose comes as a plugin of docker, or as a program of its own.
compose() {
  local tool=(docker compose)
  docker compose version > /dev/null 2>&1 || tool=(docker-compose)
  CLUSTER_IMAGE=$image CLUSTER_SECRETS=$secrets \
    CLUSTER_PORT_1=$port CLUSTER_PORT_2=$((port + 1)) CLUSTER_PORT_3=$((port + 2)) \
    "${tool[@]}" -p "$project" -f "$here/docker-compose.cluster.yml" "$@"
}

need_docker() {
  command -v docker > /dev/null || die "docker is not installed"
  docker version > /dev/null 2>&1 ||
    die "the Docker engine does not answer: is it running, and may you use it (group docker)?"
  docker compose version > /dev/null 2>&1 || command -v docker-compose > /dev/null ||
    die "neither 'docker compose' nor 'docker-compose' is installed"
  command -v curl > /dev/null || die "curl is not installed"
}

url() { printf 'http://127.0.0.1:%s' $((port + $1 - 1)); }

# The container of node $1, running or not; empty when there is none.
container() {
  docker ps -aq --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.service=node-$1"
}

state() { docker inspect -f '{{.State.Status}}' "$1"; }
is_running() { local id; id=$(container "$1") && [ -n "$id" ] && [ "$(state "$id")" = running ]; }

peers="${project}_peers"
is_cut_off() { ! docker inspect -f '{{range $name, $_ := .NetworkSettings.Networks}}{{println $name}}{{end}}' "$1" | grep -qx "$peers"; }

# The argument of kill and partition: the container of a node that is there.
chosen() {
  case ${1:-} in
    [123]) ;;
    '') die "say which node: 1, 2 or 3" ;;
    *) die "there is no node '$1': say 1, 2 or 3" ;;
  esac
  local id
  id=$(container "$1")
  [ -n "$id" ] || die "the cluster '$project' is not up: run scripts/cluster.sh up"
  printf '%s' "$id"
}

is_up() {
  local node
  for node in "${nodes[@]}"; do [ -n "$(container "$node")" ] || return 1; done
}

is_ready() { curl -fs -o /dev/null --max-time 6 "$(url "$1")/ready"; }

# What the first node that can be asked says of the members; empty when none can.
members() {
  local node
  for node in "${nodes[@]}"; do
    if is_running "$node" && docker exec "$(container "$node")" /conclave members "$@" 2> /dev/null; then return; fi
  done
  return 1
}

voters() { members --json | grep -o '"is_voter":true' | wc -l; }
can_lose_one() { members | grep 'can lose [1-9]' > /dev/null; }

# Waits until all nodes answer, and the leader has noticed: only then may the next one stop. With `all-vote`, also until
# all of them are voters.
await() {
  local end=$((SECONDS + patience)) node
  for node in "${nodes[@]}"; do
    until is_ready "$node"; do
      [ "$SECONDS" -lt "$end" ] || not_ready "$node"
      sleep 0.2
    done
  done
  until [ "${1:-}" != all-vote ] || [ "$(voters)" = "${#nodes[@]}" ]; do
    [ "$SECONDS" -lt "$end" ] || die "only $(voters) of ${#nodes[@]} nodes are voters after $patience s"
    sleep 0.2
  done
  # A node that was away for less than the leader's patience is counted as if it had not been, until that is over: so it
  # must stay true for longer.
  local seen=0
  until [ "$seen" -ge 10 ]; do
    if can_lose_one; then seen=$((seen + 1)); else seen=0; fi
    [ "$SECONDS" -lt "$end" ] || die "all nodes are ready, and yet none can be lost after $patience s: $(members | tail -n 1)"
    sleep 0.2
  done
}

not_ready() {
  docker logs --tail 20 "$(container "$1")" >&2 || true
  die "node $1 is not ready after $patience s; above is the end of what it logged"
}

# Makes the secrets as the user of the containers, who must own them. The folder appears whole or not at all, and no
# other user of this machine can reach into it meanwhile.
make_secrets() {
  if [ -e "$secrets/authority.pem" ] && [ -e "$secrets/conclave.kek" ]; then return; fi
  [ ! -e "$secrets" ] || die "$secrets is there without authority.pem or conclave.kek: put them back, or remove it"
  # New ones would not open the data.
  local volume
  volume=$(docker volume ls -q --filter "label=com.docker.compose.project=$project" | head -n 1)
  [ -z "$volume" ] || die "the secrets are missing in $secrets, and there is data that only they open:
put them back, or give up the data with 'scripts/cluster.sh down --volumes'"
  local beside
  beside=$(mktemp -d "$(dirname "$secrets")/.cluster-secrets.XXXXXX")
  # shellcheck disable=SC2064  # The name as it is now.
  trap "rm -rf '$beside'" EXIT
  mkdir "$beside/secrets"
  chmod 777 "$beside/secrets"
  docker run --rm --read-only --network none --cap-drop ALL --security-opt no-new-privileges:true \
    -v "$beside/secrets:/secrets" "$image" secrets /secrets > /dev/null || die "the secrets cannot be made"
  chmod 700 "$beside/secrets"
  mv "$beside/secrets" "$secrets"
  rmdir "$beside"
  say "made $secrets: keep it, and keep a copy elsewhere: without it the data is lost"
}

need_ports() {
  local node
  for node in "${nodes[@]}"; do
    is_running "$node" && continue
    if (: < "/dev/tcp/127.0.0.1/$((port + node - 1))") 2> /dev/null; then
      die "port $((port + node - 1)) is taken: stop what uses it, or choose others with CLUSTER_PORT"
    fi
  done
}

up() {
  if ! docker image inspect "$image" > /dev/null 2>&1; then
    say "there is no image $image: building it"
    "$here/scripts/image.sh" "${image%:latest}"
  fi
  make_secrets
  need_ports
  compose up -d
  await all-vote
  say ""
  members
  say "The nodes: $(url 1) $(url 2) $(url 3)
Sign up as the first user of an account, on any of them:

  curl $(url 1)/iam/v1/SignUpAsRootUser -H 'content-type: application/json' \\
    -d '{\"email\":\"you@example.com\",\"password\":\"...\"}'

The API is at $(url 1)/docs."
}

down() {
  local volumes=() answer
  case "${1:-}" in
    '') ;;
    --volumes)
      if [ "${2:-}" != --yes ]; then
        read -r -p "Remove all data of the cluster '$project'? Type its name: " answer || true
        [ "${answer:-}" = "$project" ] || die "nothing was done"
      fi
      volumes=(--volumes) ;;
    *) usage ;;
  esac
  compose down "${volumes[@]}"
}

status() {
  is_up || die "the cluster '$project' is not up: run scripts/cluster.sh up"
  local node id ready cut
  printf '%-8s%-10s%-11s%-10s%-9s%s\n' NODE CONTAINER HEALTH READY PEERS HTTP
  for node in "${nodes[@]}"; do
    id=$(container "$node")
    ready=no cut=joined
    if is_ready "$node"; then ready=yes; fi
    if is_cut_off "$id"; then cut='cut off'; fi
    printf '%-8s%-10s%-11s%-10s%-9s%s\n' "node-$node" "$(state "$id")" \
      "$(docker inspect -f '{{if .State.Health}}{{.State.Health.Status}}{{else}}-{{end}}' "$id")" "$ready" "$cut" "$(url "$node")"
  done
  say ""
  members || die "no node can be asked for the members"
}

kill_node() {
  local id
  id=$(chosen "${1:-}")
  [ "$(state "$id")" = running ] || die "node $1 does not run"
  # Docker does not start again what was killed through it.
  docker kill "$id" > /dev/null
  say "killed node $1; 'scripts/cluster.sh heal' starts it again"
}

partition() {
  local id
  id=$(chosen "${1:-}")
  ! is_cut_off "$id" || die "node $1 is cut off already"
  docker network disconnect "$peers" "$id"
  say "cut node $1 off; it still answers at $(url "$1"), and 'scripts/cluster.sh heal' ends the cut"
}

heal() {
  is_up || die "the cluster '$project' is not up: run scripts/cluster.sh up"
  local node id
  for node in "${nodes[@]}"; do
    id=$(container "$node")
    if is_cut_off "$id"; then
      docker network connect --alias "peer-$node" "$peers" "$id"
      say "node $node is among its peers again"
    fi
    if [ "$(state "$id")" != running ]; then
      docker start "$id" > /dev/null
      say "started node $node"
    fi
  done
  await
  say "all nodes are ready"
}

rolling_restart() {
  is_up || die "the cluster '$project' is not up: run scripts/cluster.sh up"
  local node id
  for node in "${nodes[@]}"; do
    is_ready "$node" || die "node $node is not ready: with one node down, stopping another would stop the cluster; run 'scripts/cluster.sh heal' first"
  done
  for node in "${nodes[@]}"; do
    id=$(container "$node")
    docker stop --time 15 "$id" > /dev/null
    docker rm "$id" > /dev/null
    compose up -d --no-deps "node-$node" > /dev/null 2>&1 || die "node $node cannot be started: see 'scripts/cluster.sh up'"
    await
    say "node $node is restarted, and all nodes are ready"
  done
}

[ "$#" -gt 0 ] || usage
command=$1
shift
case $command in
  up | down | status | logs | kill | partition | heal | rolling-restart) need_docker ;;
  *) usage ;;
esac
case $command in
  up) up ;;
  down) down "$@" ;;
  status) status ;;
  logs) compose logs --follow --tail 100 ${1:+"node-$1"} ;;
  kill) kill_node "$@" ;;
  partition) partition "$@" ;;
  heal) heal ;;
  rolling-restart) rolling_restart ;;
esac
