#!/usr/bin/env bash
# Fuzzes every target, in as many seconds as the first argument says, builds
# included: each has its share of the time that is left, so that more targets take
# no longer. Targets without any time left are named.
set -euo pipefail
deadline=$((SECONDS + $1))
least=3 # seconds, for one target
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# fuzz runs one target. The go command sometimes calls it a failure that the
# time is over, golang.org/issue/48591; a target names its findings.
fuzz() {
	local status=0
	go test -run '^$' -fuzz "^$2\$" -fuzztime "$3s" -fuzzminimizetime 5s "$1" 2>&1 | tee "$log" || status=${PIPESTATUS[0]}
	if ((status != 0)) && grep -q 'context deadline exceeded' "$log" && ! grep -qE 'Failing input|panic|_test\.go:' "$log"; then
		return 0
	fi
	return "$status"
}

mapfile -t targets < <(grep -rE --include='*_test.go' -o '^func Fuzz[A-Za-z0-9_]+' cmd examples host plugins sdk |
	sed -E 's|^(.*)/[^/]+:func (.*)$|./\1 \2|' | sort)
left=${#targets[@]}
((left > 0)) || { echo "fuzz: there is no target"; exit 1; }
for target in "${targets[@]}"; do
	read -r pkg name <<<"$target"
	share=$(((deadline - SECONDS) / left))
	if ((share < least)); then
		echo "fuzz: no time is left for $left of ${#targets[@]} targets, from $name in $pkg on"
		exit 0
	fi
	echo "fuzz $pkg $name"
	fuzz "$pkg" "$name" "$((share < 20 ? share : 20))"
	left=$((left - 1))
done
