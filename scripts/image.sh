#!/usr/bin/env bash
# Builds the image `conclave`: one static binary, nothing pulled.
set -euo pipefail
cd "$(dirname "$0")/.."
target=x86_64-unknown-linux-gnu
RUSTFLAGS='-C target-feature=+crt-static' cargo build --release --locked --bin conclave --target "$target"
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
cp "target/$target/release/conclave" Dockerfile "$stage"
mkdir "$stage/cluster"
docker build -t conclave "$stage"
