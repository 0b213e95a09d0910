#!/bin/bash
# install.sh [--dir DIR] [NAME...]: installs pinned real agents from npm and prints where they are.
#
# Without a NAME it is opencode, which ./run demo uses too; others are the folders in packages/, and
# `page`, the driver of the web page's tests.
# DIR is ~/.cache/berth/agents unless given: outside the repository, so that all checkouts share it
# and a clean clone does not download it all again. Nothing happens when DIR already holds what the
# lock files ask for. Install scripts do not run: native binaries come as packages of their own.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=${XDG_CACHE_HOME:-$HOME/.cache}/berth/agents
if [ "${1:-}" = --dir ]; then
  dir=$2
  shift 2
fi

# install FOLDER-WITH-LOCK TARGET NAME
install() {
  local from=$1 to=$2 name=$3
  local stamp=$to/installed.lock # a copy of the lock file, written last
  cmp -s "$from/package-lock.json" "$stamp" && return 0
  if ! command -v npm >/dev/null; then
    echo "real agents: npm is missing (apt-get install npm)" >&2
    return 1
  fi
  mkdir -p "$to"
  exec 9>"$to/.install-lock" # several tests may start together
  flock 9
  cmp -s "$from/package-lock.json" "$stamp" && return 0
  echo "real agents: installing $name from npm into $to (once)"
  rm -f "$stamp"
  cp "$from/package.json" "$from/package-lock.json" "$to/"
  local log=$to/install.log
  # `npm ci` refuses a lock file that lacks packages for other platforms, which not every registry
  # holds; `npm install` keeps to the lock file all the same. An agent that asks for a newer node
  # than Debian's is run with the one of packages/node22.
  rm -rf "$to/node_modules"
  if ! timeout 500 npm install --prefix "$to" --ignore-scripts --no-audit --no-fund \
      --engine-strict=false >"$log" 2>&1; then
    echo "real agents: npm install of $name failed:" >&2
    tail -n 20 "$log" >&2
    return 1
  fi
  cp "$from/package-lock.json" "$stamp"
}

[ $# -gt 0 ] || set -- opencode
for name in "$@"; do
  if [ "$name" = opencode ]; then
    install "$here" "$dir" "$name"
  elif [ "$name" = page ]; then
    install "$here/../page" "$dir/$name" "$name"
  elif [ -f "$here/packages/$name/package-lock.json" ]; then
    install "$here/packages/$name" "$dir/$name" "$name"
  elif [ -f "$name/package-lock.json" ]; then # a folder of another test
    install "$name" "$dir/$(basename "$name")" "$(basename "$name")"
  else
    echo "install.sh: no agent $name in packages/" >&2
    exit 2
  fi
done
echo "real agents: ready in $dir: $*"
