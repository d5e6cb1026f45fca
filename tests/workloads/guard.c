// SPDX-License-Identifier: Apache-2.0
/* What somebody with all rights tries on a guarded agent, each as a fact WAY ERRNO; 0: it was done. What must
 * be possible is a fact may.WAY. */
#include "workload.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define IDS_MAX 512

static pid_t agent;
static const char *folder;

static void way(const char *name, int failed)
{
	fact(name, "%d", failed ? errno : 0);
}

static const char *in(const char *name)
{
	static char paths[2][4096];
	static int which;

	which = !which;
	snprintf(paths[which], sizeof(paths[0]), "%s/%s", folder, name);
	return paths[which];
}

static const char *of_agent(const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "/proc/%d/%s", agent, name);
	return path;
}

static void open_way(const char *name, const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	way(name, fd < 0);
	if (fd >= 0)
		close(fd);
}

static pid_t another_thread(void)
{
	DIR *tasks = opendir(of_agent("task"));
	struct dirent *entry;
	pid_t found = 0;

	while (tasks && (entry = readdir(tasks)))
		if (atoi(entry->d_name) && atoi(entry->d_name) != agent)
			found = atoi(entry->d_name);
	if (!found)
		die("threads of the agent");
	closedir(tasks);
	return found;
}

/* A signal for news of a pipe, sent by the kernel on our behalf. */
static void by_pipe(void)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) || fcntl(ends[0], F_SETOWN, agent) || fcntl(ends[0], F_SETSIG, SIGKILL) ||
	    fcntl(ends[0], F_SETFL, O_ASYNC | O_NONBLOCK) || write(ends[1], "", 1) != 1)
		die("signals of a pipe");
	close(ends[0]);
	close(ends[1]);
	fact("by_pipe", "%d", EPERM);
}

static void try_process(void)
{
	struct rlimit few = {3, 3};
	char word[8] = "changed";
	struct iovec here = {word, sizeof(word)}, there = {(void *)0x10000, sizeof(word)};
	int thread = another_thread(), descriptor;
	char name[64];
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	way("kill", kill(agent, SIGKILL));
	way("terminate", kill(agent, SIGTERM));
	way("stop", kill(agent, SIGSTOP));
	way("realtime", kill(agent, SIGRTMIN + 1));
	way("thread", syscall(SYS_tgkill, agent, thread, SIGKILL));
	way("may.exists", kill(agent, 0));
	descriptor = syscall(SYS_pidfd_open, agent, 0);
	way("may.pidfd", descriptor < 0);
	way("pidfd", syscall(SYS_pidfd_send_signal, descriptor, SIGKILL, NULL, 0));
	way("pidfd_getfd", syscall(SYS_pidfd_getfd, descriptor, 3, 0) < 0);
	close(descriptor);
	by_pipe();
	way("attach", ptrace(PTRACE_ATTACH, agent, 0, 0));
	way("seize", ptrace(PTRACE_SEIZE, thread, 0, 0));
	way("write", syscall(SYS_process_vm_writev, (long)agent, &here, 1L, &there, 1L, 0L) < 0);
	open_way("memory", of_agent("mem"), O_RDWR);
	open_way("oom", of_agent("oom_score_adj"), O_WRONLY);
	snprintf(name, sizeof(name), "task/%d/comm", thread);
	open_way("comm", of_agent(name), O_WRONLY);
	open_way("may.status", of_agent("status"), O_RDONLY);
	open_way("may.maps", of_agent("maps"), O_RDONLY);
	way("limits", prlimit(agent, RLIMIT_NOFILE, &few, NULL));
	way("processors", sched_setaffinity(thread, sizeof(set), &set));
	way("nice", setpriority(PRIO_PROCESS, agent, 19));
	way("ioprio", syscall(SYS_ioprio_set, 1, agent, 3 << 13));
}

static void try_files(const char *binary)
{
	char moved[4096];
	int fd;

	way("unlink", unlink(in("saker.sock")));
	way("rename", rename(in("saker.sock"), "sock"));
	way("rename_over", rename(in("saker.pid"), in("saker.sock")));
	way("rename_folder", rename(folder, in("../elsewhere")));
	way("rmdir", rmdir(folder));
	open_way("create", in("new"), O_CREAT | O_WRONLY);
	way("mkdir", mkdir(in("new"), 0700));
	way("mknod", mknod(in("new"), S_IFIFO | 0600, 0));
	way("symlink", symlink("/", in("new")));
	way("link", link(in("saker.pid"), "linked"));
	way("chmod", chmod(in("saker.sock"), 0777));
	way("chown", chown(in("saker.sock"), 1, 1));
	way("truncate", truncate(in("saker.pid"), 0));
	open_way("open", in("saker.pid"), O_RDWR);
	open_way("may.read", in("saker.pid"), O_RDONLY);
	snprintf(moved, sizeof(moved), "%.4000s.moved", binary);
	way("binary", rename(binary, moved));
	way("binary_chmod", chmod(binary, 0));
	/* The same file by another way. */
	if (mkdir("mounted", 0700) || mount(folder, "mounted", NULL, MS_BIND, NULL))
		die("mount");
	way("mounted", unlink("mounted/saker.sock"));
	if (umount("mounted"))
		die("umount");
	fd = open("own", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	way("may.create", fd < 0);
	way("may.rename", rename("own", "own2"));
	close(fd);
}

static int call_bpf(int command, unsigned int first)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.map_id = first;
	return syscall(SYS_bpf, command, &attr, sizeof(attr));
}

/* Numbers of the agent's objects of this kind. */
static int ids_of(const char *field, unsigned int *ids)
{
	DIR *folder_of = opendir(of_agent("fdinfo"));
	struct dirent *entry;
	char name[300], line[256];
	int count = 0;

	while (folder_of && (entry = readdir(folder_of))) {
		FILE *file;

		snprintf(name, sizeof(name), "fdinfo/%s", entry->d_name);
		file = fopen(of_agent(name), "re");
		while (file && fgets(line, sizeof(line), file))
			if (!strncmp(line, field, strlen(field)) && count < IDS_MAX)
				ids[count++] = atoi(line + strlen(field));
		if (file)
			fclose(file);
	}
	if (folder_of)
		closedir(folder_of);
	return count;
}

/* How many there are, and how many were given out. */
static void try_objects(const char *name, const char *field, int command)
{
	unsigned int ids[IDS_MAX];
	int count = ids_of(field, ids), given = 0;
	char of[64];

	for (int i = 0; i < count; i++) {
		int fd = call_bpf(command, ids[i]);

		if (fd >= 0) {
			given++;
			close(fd);
		} else if (errno != EPERM) {
			die(name);
		}
	}
	fact(name, "%d", given ? 0 : EPERM);
	snprintf(of, sizeof(of), "objects.%s", name);
	fact(of, "%d", count);
}

/* attack-agent PID FOLDER BINARY */
static int attack_agent(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	agent = atoi(argv[1]);
	folder = argv[2];
	try_process();
	try_files(argv[3]);
	try_objects("map", "map_id:", BPF_MAP_GET_FD_BY_ID);
	try_objects("program", "prog_id:", BPF_PROG_GET_FD_BY_ID);
	try_objects("bpf_link", "link_id:", BPF_LINK_GET_FD_BY_ID);
	return 0;
}

/* detach-agent PID: takes a link while nobody refuses it, and detaches it when the input ends. */
static int detach_agent(int argc, char **argv)
{
	unsigned int ids[IDS_MAX];
	int link;
	char c;

	if (argc != 2)
		return 2;
	agent = atoi(argv[1]);
	if (ids_of("link_id:", ids) == 0)
		die("links of the agent");
	link = call_bpf(BPF_LINK_GET_FD_BY_ID, ids[0]);
	if (link < 0)
		die("a link of the agent");
	fact("taken", "%u", ids[0]);
	while (read(0, &c, 1) > 0)
		;
	way("detach", call_bpf(BPF_LINK_DETACH, link));
	return 0;
}

/* first-signals PID: has the first process of the machine, which waits in a system call, send a signal. */
static int first_signals(int argc, char **argv)
{
	struct user_regs_struct before, regs;
	int status;

	if (argc != 2)
		return 2;
	if (ptrace(PTRACE_ATTACH, 1, 0, 0) || waitpid(1, &status, __WALL) != 1 ||
	    ptrace(PTRACE_GETREGS, 1, 0, &before))
		die("the first process");
	/* Back to the instruction that entered the kernel. */
	before.rip -= 2;
	regs = before;
	regs.rax = SYS_kill;
	regs.rdi = atoi(argv[1]);
	regs.rsi = SIGTERM;
	/* Nothing is to be begun anew. */
	regs.orig_rax = -1;
	if (ptrace(PTRACE_SETREGS, 1, 0, &regs) || ptrace(PTRACE_SINGLESTEP, 1, 0, 0) ||
	    waitpid(1, &status, __WALL) != 1 || ptrace(PTRACE_GETREGS, 1, 0, &regs))
		die("a call of the first process");
	fact("may.first", "%lld", -(long long)regs.rax);
	before.rax = before.orig_rax;
	before.orig_rax = -1;
	if (ptrace(PTRACE_SETREGS, 1, 0, &before) || ptrace(PTRACE_DETACH, 1, 0, 0))
		die("letting the first process go");
	return 0;
}

/* hold-thread TID: one thread of a process stands still while this runs, and the others go on. */
static int hold_thread(int argc, char **argv)
{
	pid_t thread = argc > 1 ? atoi(argv[1]) : 0;
	int status;
	char end;

	if (ptrace(PTRACE_SEIZE, thread, 0, 0) || ptrace(PTRACE_INTERRUPT, thread, 0, 0) ||
	    waitpid(thread, &status, __WALL) != thread)
		die("holding a thread");
	fact("held", "%d", thread);
	/* Until the test lets go; the kernel does it if this ends otherwise. */
	while (read(0, &end, 1) > 0)
		;
	if (ptrace(PTRACE_DETACH, thread, 0, 0))
		die("letting a thread go");
	return 0;
}

const struct workload guard_workloads[] = {
	{"first-signals", first_signals},
	{"attack-agent", attack_agent},
	{"detach-agent", detach_agent},
	{"hold-thread", hold_thread},
	{NULL, NULL},
};
