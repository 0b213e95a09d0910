#!/bin/sh
# Fuzzes the parsers one after the other, on one core and at the lowest priority.
#   tests/fuzz/run.sh <seconds for each> [target...]
# New inputs go to build-fuzz/corpus/<target>, findings to build-fuzz/findings. See README.md.
set -eu
seconds=${1:?usage: tests/fuzz/run.sh <seconds> [target...]}
shift
root=$(cd "$(dirname "$0")/../.." && pwd)
build=$root/build-fuzz
targets=${*:-http1 sse ndjson json_scan uri json_writer git_index ignore mail patch egress}

if [ ! -d "$build" ]; then
  CC=${CC:-clang-19} CXX=${CXX:-clang++-19} meson setup "$build" "$root" -Dfuzz=true \
    -Dbuildtype=plain
fi
for target in $targets; do
  nice -n 19 ninja -j1 -C "$build" "tests/fuzz/${target}_fuzz"
done
mkdir -p "$build/findings"
failed=0
for target in $targets; do
  corpus=$build/corpus/$target
  mkdir -p "$corpus"
  dictionary=$root/tests/fuzz/$target.dict
  set -- -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
    -artifact_prefix="$build/findings/$target-"
  if [ -f "$dictionary" ]; then set -- "$@" -dict="$dictionary"; fi
  echo "== $target: $seconds s"
  nice -n 19 "$build/tests/fuzz/${target}_fuzz" "$@" "$corpus" "$root/tests/fuzz/corpus/$target" \
    >"$build/findings/$target.log" 2>&1 || { failed=1; echo "$target: a finding"; }
  tail -n 8 "$build/findings/$target.log"
done
exit $failed
