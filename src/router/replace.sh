# Puts one flow statement of firewall4's template in the place of another, on the router itself: POSIX sh and busybox.
#
#   $1  the folder with the new template (new)
#   $2  SHA-256 of the template as it was read
#   $3  the statement that is there; $4 the one to be
#   $5  'keep' to leave a backup beside the template, 'drop' to remove it when all is done
#
# From the first change on it sees itself through: to the end, or back. A lost connection stops neither.
# Where $3 and $4 are the same, the ruleset is reloaded and the template left as it is. loaded.sh comes before this.
# Exit codes: 0 done, 10 nothing was changed, 11 all is as it was again, 12 it could not be restored, 13 it could not be loaded.
trap '' HUP INT TERM PIPE
template=/usr/share/firewall4/templates/ruleset.uc
backup=$template.before-guard
work=$1

mkdir -p /var/lock

exec 3>&1 >"$work/log" 2>&1
finish() {
	[ "$(readlink "$lock")" != $$ ] || rm -f "$lock"
	cat "$work/log" >&3
	exit "$1"
}
give_up() {
	echo "$1; nothing was changed"
	finish 10
}

if ! ln -s $$ "$lock" 2>/dev/null; then
	! pid=$(holder) || give_up "another patchbench is at work on this router (process $pid there holds $lock)"
	rm -f "$lock" # of a run that was killed
	ln -s $$ "$lock" || give_up 'the lock could not be taken'
fi

sum() { sha256sum "$1" | cut -d ' ' -f 1; }
rendered() { fw4 print >"$work/$1" && [ -s "$work/$1" ]; }
is_guard() {
	case $1 in
	*'ct direction original'*) ;;
	*) return 1 ;;
	esac
}
install() { # $1 becomes the template by one rename; its owner and mode are kept
	cp -p "$template" "$template.patchbench" && cat "$1" >"$template.patchbench" && sync && mv "$template.patchbench" "$template" && sync
}
restore() {
	echo "$1"
	if install "$work/old" && [ "$(sum "$template")" = "$before" ] && { [ -z "$active" ] || fw4 reload; } &&
		{ [ -z "$active" ] || [ -z "$offloads" ] || same_kind "$present"; }; then
		[ -n "$had_backup" ] || rm -f "$backup"
		echo 'the template and the ruleset are as they were'
		finish 11
	fi
	echo 'AND THE ROUTER COULD NOT BE RESTORED'
	finish 12
}

present=$3
rm -f "$template.patchbench" # of a run that was killed
# So are folders whose run nobody saw the end of; their logs are kept for a day.
find /tmp -maxdepth 1 -type d -name 'patchbench.??????' -user root -mtime +0 2>/dev/null | while read -r old; do
	[ ! -f "$old/new" ] || rm -rf "$old"
done
before=$(sum "$template")
[ "$before" = "$2" ] || give_up 'the template has changed since it was read'
if [ "$present" = "$4" ]; then
	fw4 check || give_up 'fw4 check failed'
	echo 'reloading the firewall'
	fw4 reload && same_kind "$present" || finish 13
	[ "$5" = keep ] || rm -f "$backup"
	echo 'done'
	finish 0
fi
cp "$template" "$work/old" || give_up 'the template could not be copied'
had_backup=
[ ! -e "$backup" ] || had_backup=1
active=
! nft list table inet fw4 >/dev/null 2>&1 || active=1

echo 'rendering the ruleset as it is'
rendered before || give_up 'fw4 print failed'
offloads=
! grep -qF "$present" "$work/before" || offloads=1
[ -z "$active" ] || [ -z "$offloads" ] || same_kind "$present" || give_up 'the loaded ruleset is not the one that fw4 renders: reload the firewall and look at it'
awk -v from="$present" -v to="$4" '{
	at = index($0, from)
	print at ? substr($0, 1, at - 1) to substr($0, at + length(from)) : $0
}' "$work/before" >"$work/expected" || give_up 'awk failed'
echo 'checking the ruleset to be with nft -c'
nft -c -f "$work/expected" || give_up 'nft does not take the new statement'

echo "changing $template"
# A backup beside a template without a guard is of an older firewall4, before an upgrade.
if [ "$5" = keep ] && { [ -z "$had_backup" ] || ! is_guard "$present"; }; then
	cp -p "$template" "$backup.new" && sync && mv "$backup.new" "$backup" || give_up 'the backup could not be written'
fi
install "$work/new" || restore 'the template could not be written'
fw4 check || restore 'fw4 check failed'
rendered after || restore 'fw4 print failed on the new template'
cmp -s "$work/expected" "$work/after" || restore 'the new template renders something else than it should'
if [ -n "$active" ]; then
	echo 'reloading the firewall'
	fw4 reload || restore 'fw4 reload failed'
	[ -z "$offloads" ] || same_kind "$4" || restore 'the loaded ruleset has not the new statement'
	[ -n "$offloads" ] || echo 'note: flow offloading is off, so the ruleset has no flow statement'
else
	echo 'note: the firewall is not running, so nothing was reloaded'
fi
[ "$5" = keep ] || rm -f "$backup"
echo 'done'
finish 0
