# What is at work on a router, and what its loaded ruleset does about offloading: for replace.sh and loaded.ts.
# POSIX sh and busybox.

# A link is made at once with what it says: whose lock it is. Not every busybox has flock.
lock=/var/lock/patchbench-router

holder() { # prints the process of the run that is at work
	holder=$(readlink "$lock") && [ -n "$holder" ] && [ -d "/proc/$holder" ] && echo "$holder"
}
# nft writes `flow add` for `flow offload`.
loaded() { nft list chain inet fw4 forward 2>/dev/null | grep 'flow add @ft'; }
same_kind() { # whether a loaded rule is the statement $1
	case $1 in
	*'ct direction original'*) loaded | grep 'ct direction original' | grep 'meta mark' | grep -q 'ct mark' ;;
	*) loaded | grep -q 'l4proto' && ! loaded | grep -q -e 'ct direction' -e mark ;;
	esac
}
