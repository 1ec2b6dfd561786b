# MMT with IBN-ResNet-50-a.
_base_ = [
    "../_base_/methods/mmt.py",
    "../_base_/encoders/r50_ibn_uda.py",
    "../_base_/schedules/uda_40e.py",
]

source = "dukemtmc"
target = "market1501"
model = dict(renormalize=False)  # k-means takes the mean of the two teachers' features as it is
clusterer = dict(_delete_=True, type="KMeans", num_clusters=500)
