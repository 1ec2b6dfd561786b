#!/usr/bin/env bash
# Test on N processes of this machine: tools/dist_test.sh CONFIG CHECKPOINT N [flags of tools/test.py]
config=$1 checkpoint=$2 processes=$3
shift 3
exec "$(dirname "$0")/launch.sh" test.py "$config" "$processes" "$checkpoint" "$@"
