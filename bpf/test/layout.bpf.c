// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Never loaded: gives every record type a place in an object's BTF, so that a test can compare sizes and
 * offsets as the BPF target has them with those of the Rust types. */
#include "vmlinux.h"
#include "../abi/all.h"

struct saker_key a_key;
struct saker_record a_record;
struct saker_tlv a_tlv;
struct saker_data a_data;
struct saker_creds a_creds;
struct saker_namespaces a_namespaces;
struct saker_file a_file;
struct saker_identity a_identity;
struct saker_exec a_exec;
struct saker_fork a_fork;
struct saker_exit a_exit;
struct saker_process a_process;
struct saker_stats a_stats;
struct saker_hook a_hook;
struct saker_step a_step;
struct saker_clause a_clause;
struct saker_selector_plan a_selector_plan;
struct saker_stage a_stage;
struct saker_plan a_plan;
struct saker_number_key a_number_key;
struct saker_text_key a_text_key;
struct saker_piece a_piece;
struct saker_column a_column;
struct saker_binary_column a_binary_column;
struct saker_prefix_key a_prefix_key;
struct saker_network_key a_network_key;
struct saker_binary_sets a_binary_sets;
struct saker_follow_key a_follow_key;
struct saker_lineage a_lineage;
struct saker_hook_stats a_hook_stats;
struct saker_selector_stats a_selector_stats;
struct saker_enforced an_enforced;
struct saker_known a_known;
struct saker_above an_above;
struct saker_mount a_mount;
struct saker_sequences a_sequences;
struct saker_group a_group;
struct saker_group_made a_group_made;
