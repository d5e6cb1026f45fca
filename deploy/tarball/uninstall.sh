#!/bin/sh
# Removes what install.sh put on this machine, or into the folder DESTDIR. --purge removes also configuration, policies,
# events and state.
set -eu
destdir=${DESTDIR:-}
purge=''
[ "${1:-}" != --purge ] || purge=1

if [ -z "$destdir" ]; then
	[ "$(id -u)" = 0 ] || {
		echo "uninstall.sh: root is needed, or a folder in DESTDIR" >&2
		exit 1
	}
	if [ -d /run/systemd/system ]; then
		systemctl disable --now saker.service || true
	fi
	saker uninstall || echo "uninstall.sh: something is left in force" >&2
fi
rm -rf "$destdir/usr/share/saker" "$destdir/usr/share/doc/saker"
rm -f "$destdir/usr/bin/saker" "$destdir/usr/lib/systemd/system/saker.service" \
	"$destdir/usr/lib/sysusers.d/saker.conf" "$destdir/usr/lib/tmpfiles.d/saker.conf" \
	"$destdir/usr/share/bash-completion/completions/saker" "$destdir/usr/share/zsh/vendor-completions/_saker" \
	"$destdir/usr/share/fish/vendor_completions.d/saker.fish"
rm -f "$destdir"/usr/share/man/man1/saker.1.gz "$destdir"/usr/share/man/man1/saker-*.1.gz
if [ -n "$purge" ]; then
	rm -rf "$destdir/etc/saker" "$destdir/var/lib/saker" "$destdir/var/log/saker"
fi
if [ -z "$destdir" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
