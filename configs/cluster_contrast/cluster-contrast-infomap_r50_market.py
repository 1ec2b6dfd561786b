# Labels from InfoMap on the 15-nearest-neighbour graph instead of DBSCAN.
_base_ = "./cluster-contrast_r50_market.py"

default_hooks = dict(
    cluster=dict(
        clusterer=dict(_delete_=True, type="InfoMap", k1=15, k2=4, min_similarity=0.5),
    ),
)
