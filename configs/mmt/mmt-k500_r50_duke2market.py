# MMT from DukeMTMC-reID to Market-1501, 500 clusters.
_base_ = [
    "../_base_/methods/mmt.py",
    "../_base_/encoders/r50_uda.py",
    "../_base_/schedules/uda_40e.py",
]

source = "dukemtmc"
target = "market1501"
model = dict(renormalize=False)  # k-means takes the mean of the two teachers' features as it is
clusterer = dict(_delete_=True, type="KMeans", num_clusters=500)
