#!/usr/bin/env bash
# Changes the rules and the proofs (src/domain, src/auth) one small thing at a time, and sees whether a fast test fails.
#
#   scripts/mutants.sh                                  all files: about 1600 mutants, many hours
#   scripts/mutants.sh src/auth/token.rs ...            these files
#   SHARD=0/8 scripts/mutants.sh                        the first of eight parts
#
# Works on a copy that holds only what is mutated, see scripts/mutants/judge.py: ten seconds for a mutant instead of
# minutes. The judges are the tests in that copy (`cargo test --lib`), for a file of src/auth those of src/auth, for
# one of src/domain those of src/domain. Survivors that change nothing anybody could see are listed, each with its
# reason, in scripts/mutants/equivalent.toml; what is not listed there wants a test.
#
# Installs cargo-mutants where it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

VERSION=27.1.0
FOLDER=$PWD/target/mutants
export CARGO_TERM_COLOR=never

cargo mutants --version > /dev/null 2>&1 || cargo install --locked "cargo-mutants@$VERSION"
mkdir -p "$FOLDER/judge"
python3 scripts/mutants/judge.py . "$FOLDER/judge"
cp scripts/mutants/equivalent.toml "$FOLDER/judge/equivalent.toml"

cd "$FOLDER/judge"
# Must pass as it is, or every mutant would be taken for killed.
CARGO_TARGET_DIR=$FOLDER/target cargo test --lib --quiet

failed=0
judge() {
  local layer=$1 out
  shift
  out=$FOLDER/$layer
  mkdir -p "$out"
  local files=()
  for file in "$@"; do files+=(--file "$file"); done
  # In place: the copy is ours, and so its build is used again. A copy of it for each mutant would be built anew.
  CARGO_TARGET_DIR=$FOLDER/target cargo mutants --in-place --config equivalent.toml --baseline=skip --timeout 240 \
    ${SHARD:+--shard "$SHARD"} --output "$out" --no-times "${files[@]}" -- --lib "$layer::" || failed=$?
}

domain=() auth=()
for file in "$@"; do
  case $file in
    src/auth/*) auth+=("$file") ;;
    src/domain/*) domain+=("$file") ;;
    *) echo "$file is not in src/auth or src/domain" >&2; exit 2 ;;
  esac
done
if [ $# -eq 0 ]; then auth=('src/auth/**') domain=('src/domain/**'); fi
[ ${#auth[@]} -eq 0 ] || judge auth "${auth[@]}"
[ ${#domain[@]} -eq 0 ] || judge domain "${domain[@]}"
exit "$failed"
