# ABMT on rendered people, campus to street; trains on a CPU.
_base_ = [
    "../_base_/methods/abmt.py",
    "../_base_/encoders/mbv2_two_branches.py",
    "../_base_/schedules/uda_small.py",
]

source = "syntha"
target = "synthb"
# Ten images per person among fifteen hundred: a larger share of pairs than on Market-1501, and fewer neighbours.
clusterer = dict(rho=5e-3, near_zero="drop", k1=10, k2=4)
