#!/bin/sh
# Builds the peers that are Go programs into a directory: rclone, and the S3
# server that it and s3fs read from. They are built, not imported, and so no
# dependency of Floe.
set -eu
dir=$1
mkdir -p "$dir"
for program in github.com/rclone/rclone@v1.76.0 github.com/versity/versitygw/cmd/versitygw@v1.8.0; do
	echo "building $program" >&2
	GOBIN=$(cd "$dir" && pwd) GOFLAGS= "${GO:-go}" install "$program"
done
