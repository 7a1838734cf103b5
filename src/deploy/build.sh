# SPDX-License-Identifier: GPL-2.0-only
# Builds a module on the host whose kernel it is for: POSIX sh, coreutils or busybox, and what it takes to build modules.
#
#   sh build.sh build FOLDER MODULE SECONDS
#           FOLDER holds the sources, Kbuild and this file, and is removed; MODULE is what make leaves there; SECONDS is
#           how long that may take
#
# Standard output gets MODULE's SHA-256, the end of a line, and MODULE; standard error what make said, or what the host lacks.
# Exit codes: 3 something is lacking, 4 it does not build, 5 it took too long.
trap '' HUP INT TERM PIPE
folder=$2 module=$3 seconds=$4
build=/lib/modules/$(uname -r)/build
job=

finish() {
	[ -z "$job" ] || {
		kill -KILL "-$job"
		wait "$job"
	} 2>/dev/null
	rm -rf "$folder"
	exit "$1"
}
lacking() {
	for tool in make setsid; do command -v "$tool" >/dev/null || echo "$tool"; done
	[ -f "$build/Makefile" ] || echo headers
}
# In a process group of its own, which ends as a whole. Without W=1, which is for authors and runs perl. A module's bytes
# must not depend on the folder's name: the same sources make the same build ID.
compile() {
	exec env LC_ALL=C "TMPDIR=$folder" KBUILD_BUILD_TIMESTAMP=1970-01-01 setsid sh -c '"$@"; echo $? >status' sh \
		make -C "$build" "M=$folder" "KCFLAGS=-ffile-prefix-map=$folder=." CONFIG_DEBUG_INFO_BTF_MODULES= modules
}

missing=$(lacking)
[ -z "$missing" ] || {
	echo "$missing" >&2
	finish 3
}
cd "$folder" || finish 4
compile >log 2>&1 &
job=$!
# A connection that is gone is noticed by writing into it; nobody wants the module then.
until [ -e status ]; do
	sleep 1
	seconds=$((seconds - 1))
	[ $seconds -gt 0 ] || finish 5
	echo >&2 || finish 4
done
wait "$job"
job=
if [ "$(cat status)" != 0 ]; then
	head -c 1000000 log >&2
	finish 4
fi
sha256sum <"$module" | cut -d ' ' -f 1
cat "$module"
finish 0
