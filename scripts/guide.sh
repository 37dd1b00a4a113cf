#!/usr/bin/env bash
# Runs every command of the operator's guide, docs/operate/, page by page, each in an empty folder with nodes of its own,
# and fails where a command fails or prints something else than its page says.
#
#   scripts/guide.sh [PAGE ...]     names without .md; all pages without any
#
# Needs Python 3 and curl. BIN=FILE takes another binary; PORT [18680] to PORT + 9 and 1000 above must be free.
# Blocks of a page that are not marked `sh` (what systemd, Kubernetes or another machine is told) are not run: those
# files are checked by scripts/deploy/check.sh. Pages on containers run where a Docker engine is there.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
[ -x "$bin" ] || (cd "$here" && cargo build --release)

if [ "$#" = 0 ]; then
  pages=("$here"/docs/operate/*.md)
else
  pages=()
  for name in "$@"; do pages+=("$here/docs/operate/$name.md"); done
fi

# The pages say `conclave`.
mkdir "$work/bin"
ln -s "$(realpath "$bin")" "$work/bin/conclave"
export PATH=$work/bin:$PATH PYTHONDONTWRITEBYTECODE=1

clean() {
  if [ -n "${CLUSTER_PROJECT:-}" ]; then
    "$here/scripts/cluster.sh" down --volumes --yes || true
    docker image ls -q "$CLUSTER_IMAGE" | sort -u | xargs -r docker image rm -f || true
  fi > /dev/null 2>&1
  down
}
trap clean EXIT

failed=0
for page in "${pages[@]}"; do
  [ -f "$page" ] || die "there is no page $page"
  # The index has no commands.
  grep -q '^```sh$' "$page" || continue
  if grep -q '^<!-- needs docker -->$' "$page" && ! docker version > /dev/null 2>&1; then
    say "NOT RUN: $(basename "$page") needs a Docker engine"
    [ "${NO_DOCKER:-}" = ok ] || failed=1
    continue
  fi
  if grep -q '^<!-- needs docker -->$' "$page"; then
    # Its own cluster and image, whatever else runs here; its scripts are run from the folder of the project.
    export CLUSTER_PROJECT=conclave-guide-$$ CLUSTER_IMAGE=conclave-guide-$$ CLUSTER_PORT=${PORT:-18680}
    export CLUSTER_SECRETS=$work/secrets
    folder=$here
  else
    folder=$work/$(basename "$page" .md)
    mkdir "$folder"
  fi
  (cd "$folder" && python3 "$here/scripts/seeds/pages.py" --alone "${PORT:-18680}" "$page") || failed=1
done
[ "$failed" = 0 ] || die "a page of the guide does not hold"
say "guide: every command does what its page says"
