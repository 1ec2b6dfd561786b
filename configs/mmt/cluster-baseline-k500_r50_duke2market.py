# The clustering baseline with k-means.
_base_ = "./cluster-baseline_r50_duke2market.py"

default_hooks = dict(
    cluster=dict(clusterer=dict(_delete_=True, type="KMeans", num_clusters=500)),
)
