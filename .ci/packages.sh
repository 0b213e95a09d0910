# What berth needs of Debian 12 to build, run and test; sourced by ./run and ./test.
build_packages=(clang-19 meson ninja-build ccache pkg-config git liburing-dev libasio-dev libgit2-dev libsimdjson-dev
  libsqlite3-dev libfmt-dev libcli11-dev libtomlplusplus-dev libexpected-dev libssl-dev libgtest-dev libgmock-dev
  libbenchmark-dev nlohmann-json3-dev python3 python3-jsonschema bubblewrap mypy dpkg-dev iproute2 procps openssl curl
  zsh fish groff-base python3-prometheus-client valgrind linux-perf)
page_packages=(chromium fonts-dejavu-core)
proxy_packages=(nginx-light caddy)
full_packages=(libclang-rt-19-dev llvm-19)

say() { printf '\033[2m· %s\033[0m\n' "$*" >&2; }

# install_missing NAME...: quick when nothing is missing.
install_missing() {
  local missing=() name
  for name in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$name" 2>/dev/null)" = "ii " ] || missing+=("$name")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  say "installing ${missing[*]}"
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  "${sudo[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# install_npm: npm for the real agents; any installation of it will do.
install_npm() {
  command -v npm >/dev/null && command -v node >/dev/null && return 0
  install_missing nodejs npm
}

# build_in FOLDER [MESON OPTION...]: configures once, then compiles what changed.
build_in() {
  local folder=$1
  shift
  if [ ! -f "$folder/build.ninja" ]; then
    say "configuring $folder"
    CC="ccache clang-19" CXX="ccache clang++-19" meson setup "$folder" "$@" >"/tmp/berth-meson.$$" 2>&1 ||
      { cat "/tmp/berth-meson.$$" >&2; rm -f "/tmp/berth-meson.$$"; return 1; }
    rm -f "/tmp/berth-meson.$$"
  fi
  say "building in $folder"
  ninja -C "$folder" ${BERTH_TARGETS:-} >"$folder/build.log" 2>&1 || { tail -n 60 "$folder/build.log" >&2; return 1; }
}
