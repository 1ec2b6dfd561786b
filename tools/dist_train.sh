#!/usr/bin/env bash
# Train on N processes of this machine (GPUs, or CPU processes where there is none):
#     tools/dist_train.sh CONFIG N [flags of tools/train.py]
# On several machines set NNODES, NODE_RANK, MASTER_ADDR and PORT.
exec "${PYTHON:-python}" "$(dirname "$0")/launch.py" train.py "$@"
