#!/usr/bin/env bash
# Test on N processes of this machine: tools/dist_test.sh CONFIG CHECKPOINT N [flags of tools/test.py]
if [ $# -lt 3 ]; then
    echo "error: found $# arguments, expected CONFIG CHECKPOINT N [flags of tools/test.py]." >&2
    exit 2
fi
config=$1 checkpoint=$2 processes=$3
shift 3
exec "${PYTHON:-python}" "$(dirname "$0")/launch.py" test.py "$config" "$processes" "$checkpoint" "$@"
