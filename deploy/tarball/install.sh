#!/bin/sh
# Installs Saker from the unpacked archive, below /usr and /etc of this machine or of the folder DESTDIR.
# What stands in /etc/saker stays as it is.
set -eu
cd "$(dirname "$0")"
destdir=${DESTDIR:-}

if [ -z "$destdir" ] && [ "$(id -u)" != 0 ]; then
	echo "install.sh: root is needed, or a folder in DESTDIR" >&2
	exit 1
fi
mkdir -p "$destdir/"
cp -a usr "$destdir/"
if [ ! -e "$destdir/etc/saker/saker.yaml" ]; then
	mkdir -p "$destdir/etc/saker"
	cp etc/saker/saker.yaml "$destdir/etc/saker/saker.yaml"
fi
install -m 0755 uninstall.sh "$destdir/usr/share/saker/uninstall.sh"
[ -z "$destdir" ] || exit 0

if command -v systemd-sysusers >/dev/null; then systemd-sysusers saker.conf; fi
if command -v systemd-tmpfiles >/dev/null; then systemd-tmpfiles --create saker.conf; fi
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl enable saker.service
	systemctl restart saker.service
	echo "Saker is installed and runs: saker status"
else
	echo "Saker is installed; start it by: saker agent"
fi
