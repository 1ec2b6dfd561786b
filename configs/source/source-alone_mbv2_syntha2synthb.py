# Stage 1 that never sees the target.
_base_ = "./source_mbv2_syntha2synthb.py"

target = None
