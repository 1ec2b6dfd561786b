# MMT with k-means, on the mean of the two teachers' features as it is.
_base_ = "./mmt_dbscan.py"

model = dict(renormalize=False)
default_hooks = dict(
    cluster=dict(clusterer=dict(_delete_=True, type="KMeans", num_clusters=500)),
)
