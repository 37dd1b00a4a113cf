#!/usr/bin/env bash
# Builds the container image: one static binary, nothing pulled. Needs Docker, the Rust toolchain and a C compiler.
#
#   scripts/image.sh [NAME]     builds the image NAME [conclave], tagged with the version and `latest`
#   scripts/image.sh binary     only the binary, target/release/conclave
#   BIN=FILE scripts/image.sh   puts a static binary that is there already into the image
#
# Only the last step, linking, differs from `cargo build --release`: both share all that is compiled.
set -euo pipefail
cd "$(dirname "$0")/.."

die() { printf 'image.sh: %s\n' "$*" >&2; exit 1; }

build() { cargo rustc --release --locked --bin conclave -- -C target-feature=+crt-static -C strip=debuginfo; }

if [ "${1:-}" = binary ]; then
  build
  exit
fi

name=${1:-conclave}
command -v docker > /dev/null || die "docker is not installed"
docker version > /dev/null 2>&1 || die "the Docker engine does not answer: is it running, and may you use it (group docker)?"
if [ -z "${BIN:-}" ]; then
  build
  BIN=target/release/conclave
fi
[ -x "$BIN" ] || die "$BIN is no program"
# An image from scratch has no loader: such a binary would answer "no such file or directory" there.
ldd "$BIN" 2>&1 | grep -q -e 'statically linked' -e 'not a dynamic executable' ||
  die "$BIN is not static: build it with 'scripts/image.sh binary'"

version=$("$BIN" --version | awk '{ print $2 }')
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
cp "$BIN" "$stage/conclave"
cp Dockerfile "$stage"
mkdir "$stage/data"
labels=(--label "org.opencontainers.image.title=conclave" --label "org.opencontainers.image.version=$version"
        --label "org.opencontainers.image.licenses=MIT")
if revision=$(git rev-parse HEAD 2> /dev/null); then labels+=(--label "org.opencontainers.image.revision=$revision"); fi
said=$(docker build --quiet "${labels[@]}" -t "$name:$version" -t "$name:latest" "$stage" 2>&1) || die "$said"
printf '%s:%s and %s:latest: %s bytes\n' "$name" "$version" "$name" "$(docker image inspect -f '{{.Size}}' "$name:latest")"
