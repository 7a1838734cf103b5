#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Repeats this run with the patchbench in this folder. It is the author's
# program and runs as you: with a patchbench of your own, use that instead.
cd "$(dirname "$0")" || exit 2
if ! command -v node > /dev/null; then
  echo "node 20.19 or newer is needed: see nodejs.org or your distribution" >&2
  exit 69
fi
node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' || {
  echo "node 20.19 or newer is needed, this is $(node --version)" >&2
  exit 69
}
node patchbench/bin/patchbench reproduce "$@" .
status=$?
if [ "$status" -eq 69 ]; then
  echo "What this machine has and lacks:" >&2
  node patchbench/bin/patchbench doctor >&2
fi
exit "$status"
