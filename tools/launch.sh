#!/usr/bin/env bash
# Start a tool on N processes; used by dist_train.sh and dist_test.sh: tools/launch.sh TOOL CONFIG N [arguments]
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: $0 TOOL CONFIG N [arguments]" >&2
    exit 2
fi
tool=$1 config=$2 processes=$3
shift 3
here=$(cd "$(dirname "$0")" && pwd)
export PYTHONPATH="$here/..${PYTHONPATH:+:$PYTHONPATH}"
# Without this, every process takes all cores for itself.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$(($(nproc) / processes > 0 ? $(nproc) / processes : 1))}"
if [ "${NNODES:-1}" = 1 ]; then
    rendezvous=(--standalone) # a free port of its own: two runs on one machine do not collide
else
    rendezvous=(--nnodes="$NNODES" --node_rank="${NODE_RANK:?}" --master_addr="${MASTER_ADDR:?}" --master_port="${PORT:-29500}")
fi
exec "${PYTHON:-python}" -m torch.distributed.run "${rendezvous[@]}" --nproc_per_node="$processes" \
    "$here/$tool" "$config" --launcher pytorch "$@"
