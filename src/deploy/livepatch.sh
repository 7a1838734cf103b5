# SPDX-License-Identifier: GPL-2.0-only
# Loads, watches and takes back a livepatch, on the host itself: POSIX sh, coreutils or busybox, kmod or busybox.
#
#   sh livepatch.sh load FOLDER MODULE BUILD-ID ID SECONDS AFTER stalled PARAMETER=VALUE...
#           FOLDER holds MODULE.ko and this file, and is removed; ID names the load; SECONDS is the deadline of the transition;
#           AFTER how many seconds from now the livepatch is taken back unless that is called off; stalled is what
#           becomes of a transition that does not end: 'reverse' or 'force'
#   sh livepatch.sh unload MODULE SECONDS
#   sh livepatch.sh keep MODULE [ID]        calls the taking back off
#   sh livepatch.sh look MODULE             what has become of it, with the log since it was loaded
#   sh livepatch.sh status
#   sh livepatch.sh persist FOLDER MODULE PARAMETER=VALUE...
#   sh livepatch.sh forget MODULE           undoes persist
#   sh livepatch.sh due MODULE ID           what the dead-man's switch does
#   sh livepatch.sh wait MODULE ID          the same when its time has come: the switch itself, where the host has no better one
#
# `@ NAME` begins a section of the output, of which every line has a blank before it. What it began it sees through: a lost
# connection stops nothing.
trap '' HUP INT TERM PIPE
PATH=$PATH:/usr/sbin:/sbin
umask 077
base=/run/patchbench
[ -d /run ] || base=/var/run/patchbench
lock=$base/lock
patches=/sys/kernel/livepatch
release=$(uname -r)

section() {
	echo "@ $1"
	shift
	"$@" 2>&1 | sed 's/^/ /'
}
result() {
	echo "@ result"
	echo " $1"
}
value() { cat "$1" 2>/dev/null; }
uptime_seconds() {
	read -r up _ </proc/uptime
	echo "${up%%.*}"
}
nap() { sleep 0.2 2>/dev/null || sleep 1; }
# Runs a command again and again until it succeeds; fails when the seconds are over.
within() {
	until=$(($(uptime_seconds) + $1))
	shift
	until "$@"; do
		[ "$(uptime_seconds)" -le $until ] || return 1
		nap
	done
}

log=/var/log/patchbench-livepatch.log
[ -w /var/log ] || log=$base/journal
note() { echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) $*" >>"$log"; }

# A link is made at once with what it says: whose lock it is. Not every busybox has flock.
try_lock() {
	ln -s $$ "$lock" 2>/dev/null && return
	holder=$(readlink "$lock")
	[ -z "$holder" ] || [ ! -d "/proc/$holder" ] || return 1
	# Of a process that was killed. One of those who see that renames it; who was late gives back what is a new one's.
	mv "$lock" "$lock.$$" 2>/dev/null && {
		[ "$(readlink "$lock.$$")" = "$holder" ] || {
			mv "$lock.$$" "$lock"
			return 1
		}
		rm -f "$lock.$$"
	}
	ln -s $$ "$lock" 2>/dev/null
}
take_lock() {
	mkdir -p "$base" 2>/dev/null
	within "$1" try_lock && return
	if [ -L "$lock" ]; then result busy; else result no-room; fi
	finish
}
finish() {
	[ "$(readlink "$lock")" != $$ ] || rm -f "$lock"
	[ -z "$folder" ] || rm -rf "$folder"
	rmdir "$base" 2>/dev/null
	exit 0
}

build_id() { od -An -v -tx1 "/sys/module/$1/notes/.note.gnu.build-id" 2>/dev/null | tr -d ' \n' | cut -c 33-; }
is_settled() { [ "$(value "$patches/$1/transition")" = 0 ]; }
is_disabled() { [ ! -d "$patches/$1" ] || [ "$(value "$patches/$1/enabled")$(value "$patches/$1/transition")" = 00 ]; }
is_on() { [ "$(value "$patches/$1/enabled")$(value "$patches/$1/transition")" = 10 ]; }
is_gone() { [ ! -d "/sys/module/$1" ] || rmmod "$1" 2>/dev/null; }
# Parameters of a bool are read back as Y and N.
has_parameters() {
	module=$1
	shift
	for parameter; do
		file=/sys/module/$module/parameters/${parameter%%=*}
		[ -r "$file" ] || continue
		wanted=${parameter#*=}
		now=$(value "$file")
		case "$wanted $now" in
		"$now $now" | "1 Y" | "y Y" | "true Y" | "0 N" | "n N" | "false N") ;;
		*) return 1 ;;
		esac
	done
}

# The tasks that are not where the transition leads, with their stacks (patch_state in proc_pid(5)).
stalled() {
	count=0
	for state in /proc/[0-9]*/task/[0-9]*/patch_state; do
		now=
		# Of a task that is gone meanwhile.
		{ read -r now <"$state"; } 2>/dev/null
		[ -n "$now" ] && [ "$now" != -1 ] && [ "$now" != "$1" ] || continue
		count=$((count + 1))
		[ $count -le 32 ] || continue
		task=${state%/patch_state}
		echo "$(value "$task/comm" | tr -d '\n')/${task##*/}"
		value "$task/stack" | head -n 40 | sed 's/^/  /'
	done
	[ $count -le 32 ] || echo "and $((count - 32)) more tasks"
}
# The kernel's log since our mark in it.
log_since() { dmesg 2>/dev/null | awk -v mark="patchbench: loading $1 " 'index($0, mark) { found = 1; text = ""; next } found { text = text $0 "\n" } END { if (!found) print "(the mark is gone)"; else printf "%s", text }'; }

# Disables and removes $1; fails where it stays. That is what everything waits for: it has a minute for each,
# whatever the deadline of the load was.
take_out() {
	patience=$2
	[ "$patience" -ge 60 ] || patience=60
	if [ -d "$patches/$1" ]; then
		[ "$(value "$patches/$1/enabled")" = 0 ] || echo 0 >"$patches/$1/enabled"
		within $patience is_disabled "$1" || return 1
	fi
	within $patience is_gone "$1"
}

# The dead-man's switch. Whoever renames `armed` first decides: the one who calls it off, or the one who is due.
arm() {
	module=$1 id=$2 after=$3
	state=$base/$module
	echo $(($(uptime_seconds) + after)) >"$state/due" && echo "$id" >"$state/armed" || return 1
	if [ -d /run/systemd/system ] && systemd-run --quiet --collect --unit="patchbench-$module-$id" --on-active="${after}s" --timer-property=AccuracySec=1s sh "$state/livepatch.sh" due "$module" "$id" 2>/dev/null; then
		echo "systemd patchbench-$module-$id.timer" >"$state/switch"
	elif command -v at >/dev/null && pidof atd >/dev/null && echo "sh $state/livepatch.sh wait $module $id" | at now + $((after / 60)) minutes 2>"$state/at"; then
		echo "at $(sed -n 's/^job \([0-9]*\) .*/\1/p' "$state/at")" >"$state/switch"
	else
		echo shell >"$state/switch"
		if command -v setsid >/dev/null; then
			setsid sh "$state/livepatch.sh" wait "$module" "$id" </dev/null >/dev/null 2>&1 &
		else
			sh "$state/livepatch.sh" wait "$module" "$id" </dev/null >/dev/null 2>&1 &
		fi
		echo "shell $!" >"$state/switch"
	fi
	# A full /run leaves files without a word in them.
	[ -s "$state/armed" ] && [ -s "$state/due" ] && [ -s "$state/switch" ] || return 1
	section switch cat "$state/switch"
}
# Whether the switch of $1 is there to fire.
is_alive() {
	read -r kind handle <"$base/$1/switch" || return 1
	case $kind in
	systemd) systemctl is-active "$handle" ;;
	at) atq | grep "^$handle[[:space:]]" ;;
	shell) kill -0 "$handle" ;;
	*) false ;;
	esac >/dev/null 2>&1
}
disarm() {
	state=$base/$1
	[ -d "$state" ] || return 1
	[ -z "$2" ] || [ "$(value "$state/armed")" = "$2" ] || return 1
	mv "$state/armed" "$state/called-off" 2>/dev/null || return 1
	read -r kind handle <"$state/switch"
	case $kind in
	systemd) systemctl stop "$handle" ;;
	at) atrm "$handle" ;;
	shell) kill -KILL "-$handle" || kill -KILL "$handle" ;;
	esac >/dev/null 2>&1
	rm -rf "$state"
}

load() {
	folder=$1 module=$2 build=$3 id=$4 seconds=$5 after=$6 stalled=$7
	shift 7
	take_lock 5
	if [ -d "/sys/module/$module" ] && is_on "$module" && [ "$(build_id "$module")" = "$build" ] && has_parameters "$module" "$@"; then
		result already
		finish
	fi
	if [ -d "$patches/$module" ]; then
		section log status
		result other
		finish
	fi
	# Disabled by hand, and not removed.
	within "$seconds" is_gone "$module" || {
		result other
		finish
	}
	# What an earlier load left that was killed, or stuck.
	disarm "$module"
	state=$base/$module
	rm -rf "$state"
	mkdir -p "$state" && echo "$folder" >"$state/folder" && cp "$folder/livepatch.sh" "$state/livepatch.sh" && arm "$module" "$id" "$after" || {
		rm -rf "${state:?}"
		result no-room
		finish
	}
	echo "patchbench: loading $module $id" >/dev/kmsg
	value /proc/sys/kernel/tainted >"$state/tainted"
	echo "$id" >"$state/id"
	note "load $module $id, to be taken back after $after s"
	begun=$(uptime_seconds)
	if ! insmod "$folder/$module.ko" "$@" >"$state/said" 2>&1; then
		section said cat "$state/said"
		section log log_since "$module"
		note "refused $module $id"
		disarm "$module"
		result refused
		finish
	fi
	if [ ! -d "$patches/$module" ]; then
		rmmod "$module" 2>/dev/null
		disarm "$module"
		result no-livepatch
		finish
	fi
	outcome=loaded
	if ! within "$seconds" is_settled "$module"; then
		section stalled stalled 1
		if [ "$stalled" = force ] && ! is_settled "$module" && echo 1 >"$patches/$module/force"; then
			outcome=forced
			within "$seconds" is_settled "$module"
		fi
	fi
	if is_on "$module"; then
		note "$outcome $module $id"
	elif take_out "$module" "$seconds"; then
		outcome=reversed
		note "reversed $module $id: the transition stalled"
	else
		# The switch tries again.
		section stalled-back stalled 0
		outcome=stuck
		note "stuck $module $id"
	fi
	section seconds echo $(($(uptime_seconds) - begun))
	section log log_since "$module"
	[ $outcome != reversed ] || disarm "$module"
	result $outcome
	finish
}

unload() {
	module=$1 seconds=$2
	take_lock 5
	folder=$(value "$base/$module/folder")
	forget_persisted "$module"
	[ -z "$left" ] || section said echo "$left"
	was=gone
	[ ! -d "/sys/module/$module" ] || was=there
	if [ $was = gone ]; then
		disarm "$module"
		rm -rf "$base/${module:?}"
		if [ -z "$left" ]; then result absent; else result still-persistent; fi
	elif take_out "$module" "$seconds"; then
		disarm "$module"
		rm -rf "$base/${module:?}"
		note "unload $module"
		if [ -z "$left" ]; then result unloaded; else result still-persistent; fi
	else
		section stalled stalled 0
		section said rmmod "$module"
		note "unload $module: it stays"
		result stuck
	fi
	finish
}

keep() {
	take_lock 5
	if ! is_on "$1"; then
		result absent
	elif disarm "$1" "$2"; then
		note "keep $1"
		result kept
	else
		result already
	fi
	finish
}

due() {
	module=$1 id=$2
	state=$base/$module
	[ "$(value "$state/armed")" = "$id" ] && mv "$state/armed" "$state/firing" 2>/dev/null || exit 0
	# It comes once: whoever is at work has an end.
	until try_lock; do sleep 5; done
	# Of a load that was killed.
	folder=$(value "$state/folder")
	note "nobody kept $module $id: taking it back"
	forget_persisted "$module"
	echo "patchbench: nobody kept $module $id" >/dev/kmsg
	tries=0
	until take_out "$module" 30; do
		tries=$((tries + 1))
		[ $tries -le 60 ] || break
		sleep 10
	done
	if [ -d "/sys/module/$module" ]; then note "stuck $module $id"; else note "taken back $module $id"; fi
	rm -rf "${state:?}"
	finish
}

persisted_files() {
	echo "/etc/modules-load.d/patchbench-$1.conf /etc/modprobe.d/patchbench-$1.conf /lib/modules/$release/updates/patchbench/$1.ko"
}
# Fails where there was nothing; what could not be removed is in $left then.
forget_persisted() {
	there= left=
	for file in $(persisted_files "$1") /lib/modules/*/updates/patchbench/"$1".ko; do
		[ -e "$file" ] || continue
		there=1
		rm -f "$file" 2>/dev/null
		[ ! -e "$file" ] || left="$left $file"
	done
	[ -n "$there" ] || return 1
	if [ -n "$left" ]; then
		note "persist $1: stays in$left"
		return
	fi
	rmdir /lib/modules/*/updates/patchbench /lib/modules/*/updates 2>/dev/null
	depmod -a
	note "persist $1: undone"
}
persist() {
	folder=$1 module=$2
	shift 2
	take_lock 5
	if [ ! -d /etc/modules-load.d ]; then
		result no-modules-load
		finish
	fi
	set -- "$module" "$*" $(persisted_files "$module")
	if mkdir -p "${5%/*}" && cp "$folder/$1.ko" "$5" && depmod -a && { [ -z "$2" ] || { mkdir -p /etc/modprobe.d && echo "options $1 $2" >"$4"; }; } && (umask 022 && echo "$1" >"$3"); then
		chmod 755 /lib/modules/*/updates/patchbench 2>/dev/null
		note "persist $1"
		result persisted
	else
		forget_persisted "$1"
		result not-persisted
	fi
	finish
}

describe() {
	name=$1
	echo "patch $name $(value "$patches/$name/enabled") $(value "$patches/$name/transition") $(build_id "$name")"
	[ ! -e "$base/$name/armed" ] || echo "due $name $(($(value "$base/$name/due") - $(uptime_seconds))) $(if is_alive "$name"; then echo alive; else echo dead; fi) $(value "$base/$name/switch")"
	[ ! -e "/etc/modules-load.d/patchbench-$name.conf" ] || echo "persistent $name"
	for function in "$patches/$name"/*/*,*/; do
		[ -d "$function" ] || continue
		function=${function%/}
		object=${function%/*}
		echo "function $name ${object##*/} $(value "$object/patched") ${function##*/}"
	done
	for parameter in "/sys/module/$name/parameters"/*; do
		[ ! -r "$parameter" ] || echo "parameter $name ${parameter##*/}=$(value "$parameter")"
	done
}
status() {
	echo "release $release"
	echo "tainted $(value /proc/sys/kernel/tainted)"
	holder=$(readlink "$lock") && [ -d "/proc/$holder" ] && echo "busy $holder"
	for patch in "$patches"/*/; do
		patch=${patch%/}
		[ ! -e "$patch/enabled" ] || describe "${patch##*/}"
	done
	# What goes on by itself: a switch whose livepatch is not there yet, or is going.
	for state in "$base"/*/; do
		state=${state%/}
		[ ! -e "$state/id" ] || [ -d "$patches/${state##*/}" ] || echo "pending ${state##*/}"
	done
	for file in /etc/modules-load.d/patchbench-*.conf; do
		name=${file##*/patchbench-}
		[ ! -e "$file" ] || [ -d "$patches/${name%.conf}" ] || echo "at-boot ${name%.conf}"
	done
	return 0
}
look() {
	section status status
	section before cat "$base/$1/tainted"
	section log log_since "$1"
	result seen
}

verb=$1
folder=
shift
case $verb in
load | unload | keep | due | persist | look) "$verb" "$@" ;;
forget)
	take_lock 5
	if ! forget_persisted "$1"; then
		result absent
	elif [ -z "$left" ]; then
		result forgotten
	else
		section said echo "$left"
		result still-persistent
	fi
	finish
	;;
status)
	section status status
	[ ! -r "$log" ] || section journal tail -n 20 "$log"
	result seen
	;;
wait)
	# at(1) counts from the last full minute: what is left is waited for here.
	left=$(($(value "$base/$1/due") - $(uptime_seconds)))
	[ $left -le 0 ] || sleep $left
	due "$1" "$2"
	;;
esac
