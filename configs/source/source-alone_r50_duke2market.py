# Stage 1 that never sees the target: batch-norm statistics of the source alone.
_base_ = "./source_r50_duke2market.py"

target = None
