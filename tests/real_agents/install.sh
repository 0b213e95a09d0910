#!/bin/bash
# install.sh [DIR]: installs the pinned real agents from npm into DIR and prints where they are.
#
# DIR is ~/.cache/berth/agents unless given: outside the repository, so that ./test and ./run demo
# share it and a clean clone does not download 350 MB again. Nothing happens when DIR already holds
# what the lock file asks for. Install scripts do not run: the native binary comes as a package.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/berth/agents}
stamp=$dir/installed.lock # a copy of the lock file, written last

if cmp -s "$here/package-lock.json" "$stamp"; then
  echo "real agents: ready in $dir"
  exit 0
fi
if ! command -v npm >/dev/null; then
  echo "real agents: npm is missing (apt-get install npm)" >&2
  exit 1
fi

mkdir -p "$dir"
exec 9>"$dir/.install-lock" # ./test and ./run demo may start together
flock 9
if ! cmp -s "$here/package-lock.json" "$stamp"; then
  echo "real agents: installing from npm into $dir (about 350 MB, once)"
  rm -f "$stamp"
  cp "$here/package.json" "$here/package-lock.json" "$dir/"
  log=$dir/install.log
  if ! timeout 500 npm ci --prefix "$dir" --ignore-scripts --no-audit --no-fund >"$log" 2>&1; then
    echo "real agents: npm ci failed:" >&2
    tail -n 20 "$log" >&2
    exit 1
  fi
  cp "$here/package-lock.json" "$stamp"
fi
echo "real agents: ready in $dir"
