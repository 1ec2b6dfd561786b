# Real photographs: ORL faces, 20 people without labels for training, the other 20 for testing.
_base_ = [
    "../_base_/methods/cluster_contrast.py",
    "../_base_/encoders/mbv2.py",
    "../_base_/schedules/usl_small.py",
]

target = "orl"
input_size = (96, 80)
iters_per_epoch = 10
# Ten images per person: fewer neighbours than on Market-1501, where there are seventeen.
clusterer = dict(eps=0.55, k1=10, k2=4)
