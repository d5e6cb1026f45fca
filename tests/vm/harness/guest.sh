# shellcheck shell=sh
# Second stage, run inside the machine by init: finishes the set-up and runs the command.
# /run/vm is the control folder shared with xtask. In: cmd, cwd, shares. Out: up (guest's uptime when the
# command starts), rc (its exit status). A failure before the command leaves no rc; the console tells why.
set -eu
ctl=/run/vm
p9=trans=virtio,version=9p2000.L,msize=524288

put() { # value, file: appears whole or not at all
	echo "$1" >"$ctl/$2.tmp"
	mv "$ctl/$2.tmp" "$ctl/$2"
}

output_port() {
	for name in /sys/class/virtio-ports/*/name; do
		if [ "$(cat "$name")" = out ]; then
			port=${name%/name}
			echo "/dev/${port##*/}"
			return
		fi
	done
	echo "guest: no output port" >&2
	exit 1
}

out=$(output_port)
ln -sfn /proc/self/fd /dev/fd
ln -sfn /proc/self/fd/0 /dev/stdin
ln -sfn /proc/self/fd/1 /dev/stdout
ln -sfn /proc/self/fd/2 /dev/stderr
ln -sfn /proc/self/mounts /etc/mtab
echo vm >/proc/sys/kernel/hostname
ip link set lo up

# Modules of this kernel only; the host's own would be of no use.
mkdir -p /lib/modules
mount -t tmpfs tmpfs /lib/modules
mkdir "/lib/modules/$(uname -r)"
mount -t 9p -o "ro,$p9,cache=loose" kmod "/lib/modules/$(uname -r)"

n=0
while read -r dir; do
	mkdir -p "$dir"
	mount -t 9p -o "$p9,cache=none" "share$n" "$dir"
	n=$((n + 1))
done <"$ctl/shares"

# As on a machine with a service manager, nothing of interest lives in the root control group.
echo '+cpu +memory +pids' >/sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/run
echo $$ >/sys/fs/cgroup/run/cgroup.procs

# The caller's folder; what is not there in the machine (a tmpfs of the host, say) is no reason to stop.
cd "$(cat "$ctl/cwd")" || cd /
read -r uptime _ </proc/uptime
put "$uptime" up
rc=0
/bin/sh "$ctl/cmd" >"$out" 2>&1 </dev/null || rc=$?
put "$rc" rc
# Another process 1 than ours does not end the machine with this script.
case $(cat /proc/1/comm) in
init) ;;
*)
	sync
	echo o >/proc/sysrq-trigger
	;;
esac
