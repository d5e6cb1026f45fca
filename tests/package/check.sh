#!/bin/sh
# check.sh DIR: installs, upgrades and removes the packages of DIR under a real systemd, in a virtual machine whose file system
# is thrown away. DIR has saker_1.0.0_*.deb, saker_1.0.1_*.deb and saker-1.0.0-*.tar.gz.
set -eu
dir=$1

say() { echo "package: $*"; }
fail() {
	echo "package: FAILED: $*"
	systemctl --no-pager --full status saker.service 2>/dev/null || true
	for log in /run/check.log /run/agent.log; do
		[ ! -e $log ] || tail -n 40 $log
	done
	exit 1
}

[ -d /run/vm ] || fail "this changes the whole system, and runs in a virtual machine only (cargo xtask vm)"

# Waits until a command succeeds.
until_ok() { # what, command...
	what=$1
	shift
	n=0
	while ! "$@" >/dev/null 2>&1; do
		n=$((n + 1))
		[ $n -lt 600 ] || fail "waited in vain for $what"
		sleep 0.2
	done
}

start_systemd() {
	mkdir -p /run/systemd/system
	printf '[Unit]\nDescription=Nothing but what is asked for\nDefaultDependencies=no\n' \
		>/run/systemd/system/check.target
	mkdir /run/systemd/system/saker.service.d
	printf '[Service]\nStandardError=append:/run/agent.log\n' >/run/systemd/system/saker.service.d/log.conf
	printf '#!/bin/sh\nexec /lib/systemd/systemd --unit=check.target --log-target=kmsg --show-status=no\n' >/run/pid1
	chmod +x /run/pid1
	kill -USR1 1
	until_ok "systemd" systemctl is-active check.target
	say "process 1 is $(cat /proc/1/comm), $(systemctl --version | head -n 1)"
}

# A program that runs now is in the agent's events.
run_and_see() { # program
	until_ok "an event of $1" sh -c "/usr/bin/$1 >/dev/null 2>&1; grep -q '\"binary\":\"/usr/bin/$1\"' /var/log/saker/saker.log"
}

mode() { stat -c '%a %U %G' "$1"; }

# Indexing all manual pages of the machine takes minutes here.
rm -f /var/lib/man-db/auto-update
# The distribution's rule for images that services are not started when packages are installed.
rm -f /usr/sbin/policy-rc.d
start_systemd

say "installing"
dpkg --install "$dir"/saker_1.0.0_*.deb >/run/check.log 2>&1 || fail "dpkg --install"
systemctl is-active --quiet saker.service || fail "the service does not run after the installation"
systemctl is-enabled --quiet saker.service || fail "the service is not enabled"
[ "$(mode /var/log/saker)" = "750 root saker" ] || fail "/var/log/saker is $(mode /var/log/saker)"
[ "$(mode /var/lib/saker)" = "700 root root" ] || fail "/var/lib/saker is $(mode /var/lib/saker)"
saker status >/run/check.log 2>&1 || fail "saker status"
[ "$(mode /run/saker/saker.sock)" = "660 root saker" ] || fail "the socket is $(mode /run/saker/saker.sock)"
run_and_see tac
first=$(systemctl show --property MainPID --value saker.service)
for set in CapPrm CapEff CapBnd; do
	granted=$(sed -n "s/^$set:\t//p" "/proc/$first/status")
	[ "$granted" = "$(sed -n 's/^CapPrm:\t//p' "/proc/$first/status")" ] || fail "$set is $granted"
done
gzip -dc /usr/share/man/man1/saker-events.1.gz | grep -q '^\.TH' || fail "there is no manual page"

say "policies of the library load"
cp /usr/share/saker/policies/privileges.yaml /etc/saker/saker.tp.d/
until_ok "the policy" sh -c "saker policy list | grep -q 'privileges.*enabled'"
systemctl reload saker.service || fail "the reload"
until_ok "the policy after the reload" sh -c "saker policy list | grep -q 'privileges.*enabled'"
printf 'keep-sensors-on-exit: true\nexport-filename: /var/log/saker/saker.log\n' >/etc/saker/saker.yaml
systemctl restart saker.service
until_ok "the policy after the restart" sh -c "saker policy list | grep -q 'privileges.*enabled'"

say "upgrading"
DEBIAN_FRONTEND=noninteractive dpkg --force-confold --install "$dir"/saker_1.0.1_*.deb >/run/check.log 2>&1 || fail "the upgrade"
until_ok "the new agent" saker status
second=$(systemctl show --property MainPID --value saker.service)
case $second in
0 | "$first") fail "the agent was not restarted: $first, $second" ;;
esac
grep -q keep-sensors-on-exit /etc/saker/saker.yaml || fail "the upgrade changed the configuration"
until_ok "the policy after the upgrade" sh -c "saker policy list | grep -q 'privileges.*enabled'"
run_and_see nl

say "what the administrator stopped stays so"
systemctl stop saker.service
[ -n "$(ls /sys/fs/bpf/saker)" ] || fail "nothing stays in force, as was asked for"
DEBIAN_FRONTEND=noninteractive dpkg --force-confold --install "$dir"/saker_1.0.1_*.deb >/run/check.log 2>&1 || fail "installing it again"
! systemctl is-active --quiet saker.service || fail "installing it again started the service"
systemctl start saker.service
until_ok "the agent" saker status

say "removing"
dpkg --remove saker >/run/check.log 2>&1 || fail "dpkg --remove"
! systemctl is-active --quiet saker.service || fail "the service runs after the removal"
[ ! -e /sys/fs/bpf/saker ] || fail "something is in force after the removal: $(ls /sys/fs/bpf/saker)"
for left in /usr/bin/saker /usr/lib/systemd/system/saker.service; do
	[ ! -e $left ] || fail "$left is left after the removal"
done
for kept in /etc/saker/saker.yaml /var/log/saker/saker.log; do
	[ -e $kept ] || fail "the removal took $kept"
done
dpkg --purge saker >/run/check.log 2>&1 || fail "dpkg --purge"
rm -f /etc/saker/saker.tp.d/privileges.yaml
for left in /etc/saker/saker.yaml /var/log/saker /var/lib/saker; do
	[ ! -e $left ] || fail "$left is left after purging"
done

say "from the tarball"
mkdir /run/tarball
tar --extract --gzip --directory /run/tarball --strip-components=1 --file "$dir"/saker-1.0.0-*.tar.gz
/run/tarball/install.sh >/run/check.log 2>&1 || fail "install.sh"
until_ok "the agent of the tarball" saker status
run_and_see paste
/usr/share/saker/uninstall.sh --purge >/run/check.log 2>&1 || fail "uninstall.sh"
left=$(find /usr /etc /var -path /usr/share/bash-completion -prune -o -xdev -name '*saker*' -newer /run/tarball -print | head)
[ -z "$left" ] || fail "uninstall.sh left $left"
say "ok"
