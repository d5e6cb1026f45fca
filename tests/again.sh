#!/usr/bin/env bash
# again.sh PROGRAM: runs a test program of Rust's harness. Tests of it that fail run once more, by themselves: a failure
# may be the machine's, which did not let a process run for seconds. Both attempts are told; the second one counts.
set -uo pipefail

program=${1:?again.sh needs a test program}
log=$(mktemp)
trap 'rm -f "$log"' EXIT

"$program" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
[ "$status" != 0 ] || exit 0

mapfile -t failed < <(sed -nE 's/^test (.*) \.\.\. FAILED$/\1/p' "$log" | sed 's/ - should panic$//')
echo "AGAIN   $(basename "$program"): ${failed[*]:-all, for it ended with $status}"
if [ "${#failed[@]}" = 0 ]; then
	"$program"
	exit
fi
"$program" --exact "${failed[@]}" 2>&1 | tee "$log"
status=${PIPESTATUS[0]}
# The harness is content when no test has such a name.
if ! grep -qE "^running ${#failed[@]} tests?$" "$log"; then
	echo "FAILED  again.sh: not each of these ran: ${failed[*]}"
	exit 1
fi
exit "$status"
