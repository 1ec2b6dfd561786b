# Real photographs: ORL faces, 20 people without labels for training, the other 20 for testing.
_base_ = "./cluster-contrast_mbv2_synthb.py"

target = "orl"
input_size = (96, 80)
iters_per_epoch = 10
