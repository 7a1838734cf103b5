# SPDX-License-Identifier: GPL-2.0-only
# Says what a host is like that a livepatch is meant for, and changes nothing there: POSIX sh, coreutils or busybox.
#
#   $1  the functions to be replaced, names between blanks
#   $2  modules that have to be there, names between blanks
#   $3  symbols that are imported, names between blanks
#
# `@ NAME` begins a section, of which every line has a blank before it: what another wrote can begin none.
release=$(uname -r)
section() {
	echo "@ $1"
	shift
	"$@" 2>/dev/null | sed 's/^/ /'
}
# A regular expression for any of some words.
any() { echo "$*" | sed 's/[.]/[.]/g; s/ /|/g'; }
# Lines of a file with any of some words, which is quick also where the file is long, and of these the ones that match.
lines() {
	file=$1 pattern=$2
	shift 2
	for word; do
		set -- "$@" -e "$word"
		shift
	done
	grep -Fw "$@" "$file" | grep -E "$pattern"
}
first_of() {
	for file; do
		[ ! -r "$file" ] || {
			echo "$file"
			return
		}
	done
}
unpacked() {
	case $1 in
	'') ;;
	*.gz) zcat "$1" ;;
	*) cat "$1" ;;
	esac
}
config() {
	file=$(first_of /proc/config.gz "/boot/config-$release" "/lib/modules/$release/config" "/lib/modules/$release/build/.config")
	unpacked "$file" | grep -E '^(# )?CONFIG_(LIVEPATCH|MODVERSIONS|MODULE_UNLOAD|MODULE_SIG|MODULE_SIG_FORCE|SMP|PREEMPT_BUILD|PREEMPT|PREEMPT_RT|KALLSYMS_ALL|DYNAMIC_FTRACE_WITH_REGS|RANDSTRUCT)[= ]'
}
build_ids() {
	for module; do
		note=/sys/module/$module/notes/.note.gnu.build-id
		[ ! -r "$note" ] || echo "$module $(od -An -v -tx1 "$note" | tr -d ' \n')"
	done
}
livepatches() {
	for patch in /sys/kernel/livepatch/*/; do
		[ -e "$patch/enabled" ] || continue
		name=${patch%/}
		echo "patch ${name##*/} $(cat "$patch/enabled") $(cat "$patch/transition") $(cat "$patch/replace" 2>/dev/null)"
		for function in "$patch"/*/*,*/; do
			[ -d "$function" ] || continue
			function=${function%/}
			object=${function%/*}
			echo "function ${name##*/} ${object##*/} ${function##*/}"
		done
	done
}
tools() {
	for tool in insmod rmmod sha256sum tar mktemp dmesg sed grep od sleep; do command -v "$tool" >/dev/null || echo "$tool"; done
}

tracing=/sys/kernel/tracing
[ -r $tracing/available_filter_functions ] || tracing=/sys/kernel/debug/tracing
names=$(any $1)
section uid id -u
section release uname -r
section machine uname -m
section version uname -v
section config config
section livepatch ls -d /sys/kernel/livepatch
section enforced cat /sys/module/module/parameters/sig_enforce
section lockdown cat /sys/kernel/security/lockdown
section keys grep asymmetri /proc/keys
section tainted cat /proc/sys/kernel/tainted
section memory sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo
section modules cut -d ' ' -f 1 /proc/modules
section missing tools
section livepatches livepatches
if [ -n "$1" ]; then
	# Module functions have tabs before their module's name.
	symbols=$(lines /proc/kallsyms " [tTwW] ($names)([[:space:]]|\$)" $1)
	section kallsyms echo "$symbols"
	section tracing ls $tracing/available_filter_functions
	section traceable lines $tracing/available_filter_functions "^($names)( |\$)" $1
	section traced lines $tracing/enabled_functions "^($names)( |\$)" $1
	section kprobes lines /sys/kernel/debug/kprobes/list "[[:space:]]($names)[+]" $1
fi
section builds build_ids $2 $(echo "$symbols" | sed -n 's/.*\[\([a-zA-Z0-9_]*\)\].*/\1/p' | sort -u)
if [ -n "$3" ]; then
	file=$(first_of "/lib/modules/$release/build/Module.symvers" "/boot/symvers-$release.gz" "/lib/modules/$release/symvers.gz")
	section symvers echo "$file"
	section crcs sh -c 'case $1 in *.gz) zcat "$1" ;; ?*) cat "$1" ;; esac | grep -E "^0x[0-9a-f]+[[:space:]]($2)[[:space:]]" | cut -f 1,2' sh "$file" "$(any $3)"
fi
