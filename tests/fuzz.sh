#!/bin/sh
# Runs every fuzz target of the module for so many executions (100000x) each.
set -eu
count=${1:-100000x}
go list ./... | while read -r pkg; do
	go test -list '^Fuzz' "$pkg" 2>/dev/null | grep '^Fuzz' | while read -r target; do
		echo "== $pkg $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$count" "$pkg"
	done
done
