# MMT on rendered people with as many clusters as there are people.
_base_ = [
    "../_base_/methods/mmt.py",
    "../_base_/encoders/mbv2.py",
    "../_base_/schedules/uda_small.py",
]

source = "syntha"
target = "synthb"
stage1 = [
    "work_dirs/source_{encoder}_{source}2{target}-seed1",
    "work_dirs/source_{encoder}_{source}2{target}-seed2",
]
model = dict(renormalize=False)  # k-means takes the mean of the two teachers' features as it is
clusterer = dict(_delete_=True, type="KMeans", num_clusters=150)
