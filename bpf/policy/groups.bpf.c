// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Control groups and the containers they belong to: loaded while a policy asks for workloads, or events are
 * to name pods.
 *
 * What stands above a group never changes, so a new one belongs to what its parent belongs to; or it begins a
 * container, which its name says. Nobody is in a group before it has been entered here: the kernel calls the
 * tracepoint before mkdir() returns, and with its mutex of control groups, so that these programs never run
 * within each other. Groups that were there before are entered by user space (crates/probes/src/groups.rs),
 * top down, and never over what stands here. */
#include "groups.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define NAME_MAX_BYTES 256
#define ID_LENGTH      64

/* User space learns from elsewhere which workloads containers are. Without that they are none that a filter
 * names. */
const volatile bool saker_groups_named;

/* New containers, for user space. What has no room is found when user space looks at all groups. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
} saker_groups_new SEC(".maps");

/* Groups that there was no room for. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} saker_groups_lost SEC(".maps");

/* Only where the name stands, and aligned for words. */
struct made {
	struct saker_group_made told;
} __attribute__((aligned(8)));

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct made);
} saker_groups_scratch SEC(".maps");

/* Whether a name ends with this text, which is not longer than it. */
#define ENDS_WITH(name, end, text)                                                                           \
	({                                                                                                   \
		bool __same = true;                                                                          \
		_Pragma("unroll") for (u32 __i = 0; __i < sizeof(text) - 1; __i++)                           \
		{                                                                                            \
			u32 __at = (end) - (sizeof(text) - 1) + __i;                                         \
			forget(__at);                                                                        \
			if ((name)[__at & (NAME_MAX_BYTES - 1)] != (text)[__i])                              \
				__same = false;                                                              \
		}                                                                                            \
		__same;                                                                                      \
	})

/* Whether the last component of a path, so many bytes long, names a container: as cri-containerd-<id>.scope,
 * docker-<id>.scope, <id> or system.slice:docker:<id>. The same as is_container() of
 * crates/probes/src/groups.rs. */
static __noinline bool names_container(const u8 *name, u32 length)
{
	if (length < ID_LENGTH || length >= NAME_MAX_BYTES)
		return false;
	if (ENDS_WITH(name, length, "service"))
		return false;
	if (ENDS_WITH(name, length, ".scope"))
		length -= sizeof(".scope") - 1;
	if (length < ID_LENGTH)
		return false;
	for (u32 i = 0; i < ID_LENGTH; i++) {
		u32 at = length - 1 - i;
		u8 c;

		forget(at);
		c = name[at & (NAME_MAX_BYTES - 1)];
		if (c == '-' || c == ':')
			return false;
	}
	/* What watches over a container bears its id, and is none. */
	if (length >= ID_LENGTH + sizeof("conmon-") - 1 && ENDS_WITH(name, length - ID_LENGTH, "conmon-"))
		return false;
	return true;
}

static __always_inline void count_lost_group(void)
{
	u32 zero = 0;
	u64 *lost = bpf_map_lookup_elem(&saker_groups_lost, &zero);

	if (lost)
		__sync_fetch_and_add(lost, 1);
}

/* Groups of the other hierarchies have ids of their own. */
static __always_inline bool is_unified(struct cgroup *group)
{
	return BPF_CORE_READ(group, root, hierarchy_id) == 0;
}

SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(saker_group_mkdir, struct cgroup *group)
{
	u64 id, parent;
	struct saker_group *above, entry = {};
	struct made *made;
	u32 zero = 0;
	long length;

	if (!is_unified(group))
		return 0;
	id = BPF_CORE_READ(group, kn, id);
	parent = BPF_CORE_READ(group, self.parent, cgroup, kn, id);
	above = bpf_map_lookup_elem(&saker_groups, &parent);
	if (!above) {
		/* User space has yet to enter it, and then finds this one too; or there was no room. */
		return 0;
	}
	entry.container = above->container;
	made = bpf_map_lookup_elem(&saker_groups_scratch, &zero);
	if (!made)
		return 0;
	if (!entry.container) {
		length = bpf_probe_read_kernel_str(made->told.name, NAME_MAX_BYTES,
						   BPF_CORE_READ(group, kn, name));
		if (length > 0 && names_container(made->told.name, length - 1)) {
			entry.container = id;
			entry.bits = saker_groups_named ? SAKER_WORKLOAD_ANY : 0;
		}
	}
	if (bpf_map_update_elem(&saker_groups, &id, &entry, BPF_NOEXIST)) {
		if (!bpf_map_lookup_elem(&saker_groups, &id))
			count_lost_group();
		return 0;
	}
	if (entry.container == id && saker_groups_named) {
		made->told.group = id;
		bpf_ringbuf_output(&saker_groups_new, &made->told, sizeof(made->told), 0);
	}
	return 0;
}

SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(saker_group_rmdir, struct cgroup *group)
{
	u64 id;

	if (!is_unified(group))
		return 0;
	id = BPF_CORE_READ(group, kn, id);
	bpf_map_delete_elem(&saker_groups, &id);
	return 0;
}
