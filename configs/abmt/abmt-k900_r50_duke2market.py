# ABMT with 900 clusters of k-means.
_base_ = "./abmt_r50_duke2market.py"

default_hooks = dict(
    cluster=dict(clusterer=dict(_delete_=True, type="KMeans", num_clusters=900)),
)
