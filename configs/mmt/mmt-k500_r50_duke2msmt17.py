# MMT from DukeMTMC-reID to MSMT17, 500 clusters.
_base_ = [
    "../_base_/methods/mmt.py",
    "../_base_/encoders/r50_uda.py",
    "../_base_/schedules/uda_40e.py",
]

source = "dukemtmc"
target = "msmt17"
model = dict(renormalize=False)  # k-means takes the mean of the two teachers' features as it is
clusterer = dict(_delete_=True, type="KMeans", num_clusters=500)
