# Stage 1 of MEB-Net, as released on two GPUs: batch-norm statistics over 32 of the 64 images.
_base_ = "./source_r50_duke2market.py"

reference_gpus = 2
