#!/usr/bin/env bash
# debian.sh BUILD OUT: makes a Debian package of a build and writes it into the folder OUT; prints its path.
# The programs are stripped; the same build and SOURCE_DATE_EPOCH give the same bytes.
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: $0 BUILD OUT" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$(cd "$1" && pwd)
out=$(mkdir -p "$2" && cd "$2" && pwd)
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct 2>/dev/null || date +%s)}
berth=$build/server/berth
version=$("$berth" version | awk '{print $2; exit}')
architecture=$(dpkg --print-architecture)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
tree=$stage/berth

put() { install -D -m "$1" "$2" "$tree/$3"; }
put 755 "$berth" usr/bin/berth
put 755 "$build/bench/agents/berth-scripted-agent" usr/bin/berth-scripted-agent
put 755 "$build/io/berth-keeper" usr/libexec/berth/berth-keeper
for program in load/berth-bench load/berth-bare-loop agents/berth-flood-agent; do # of berth bench
  put 755 "$build/bench/$program" "usr/libexec/berth/${program##*/}"
done
put 644 "$build/bench/peers/node_host.mjs" usr/share/berth/node_host.mjs
put 755 "$build/io/berth-launch" usr/libexec/berth/berth-launch
strip --strip-unneeded "$tree"/usr/bin/* "$tree"/usr/libexec/berth/*
put 644 "$here/berth.service" lib/systemd/system/berth.service
put 640 "$here/berth.toml" etc/berth/berth.toml
put 644 "$root/LICENSE" usr/share/doc/berth/copyright
mkdir -p "$tree/usr/lib/sysusers.d"
echo 'u berth - "berth" /var/lib/berth /usr/sbin/nologin' >"$tree/usr/lib/sysusers.d/berth.conf"

generated() { mkdir -p "$(dirname "$tree/$1")" && cat >"$tree/$1"; }
"$berth" reference man | gzip -9n | generated usr/share/man/man1/berth.1.gz
"$berth" completions bash | generated usr/share/bash-completion/completions/berth
"$berth" completions zsh | generated usr/share/zsh/vendor-completions/_berth
"$berth" completions fish | generated usr/share/fish/vendor_completions.d/berth.fish

# dpkg-shlibdeps reads the libraries' own records of which version has which symbol.
mkdir -p "$stage/debian"
echo "Source: berth" >"$stage/debian/control"
libraries=$(cd "$stage" && dpkg-shlibdeps -O berth/usr/bin/* berth/usr/libexec/berth/* 2>/dev/null)
mkdir -p "$tree/DEBIAN"
cat >"$tree/DEBIAN/control" <<CONTROL
Package: berth
Version: $version
Architecture: $architecture
Maintainer: The berth authors <berth@localhost>
Section: net
Priority: optional
Installed-Size: $(du -sk --exclude=DEBIAN "$tree" | cut -f1)
Depends: ${libraries#shlibs:Depends=}, git
Recommends: bubblewrap, ca-certificates, systemd
Description: server that keeps coding agents ready
 berth hosts persistent sessions of coding agents: every line of an agent is in
 its log before anybody sees it, each session works in a git worktree of its own
 with a diff per turn, and agents are restored after the death of agent, client
 or server.
CONTROL
echo /etc/berth/berth.toml >"$tree/DEBIAN/conffiles"
cat >"$tree/DEBIAN/postinst" <<'SCRIPT'
#!/bin/sh
set -e
if [ "$1" = configure ] && [ -d /run/systemd/system ]; then
  systemd-sysusers berth.conf
  chgrp berth /etc/berth/berth.toml
  systemctl daemon-reload
fi
SCRIPT
cat >"$tree/DEBIAN/prerm" <<'SCRIPT'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
  systemctl disable --now berth.service || true
fi
SCRIPT
chmod 755 "$tree/DEBIAN/postinst" "$tree/DEBIAN/prerm"
find "$tree" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
package=$out/berth_${version}_$architecture.deb
dpkg-deb --root-owner-group --build "$tree" "$package" >/dev/null
echo "$package"
