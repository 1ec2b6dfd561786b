# NCPLR: Cluster-Contrast, and a classifier that learns from the neighbors of each image within a Jaccard distance.
_base_ = ["../../../../configs/_base_/methods/cluster_contrast.py"]
custom_imports = dict(imports=["projects.ncplr.ncplr"])

model = dict(
    type="NCPLR", max_distance=0.2, weigh="farther", temperature=1.0, alpha=0.1, refined_weight=1.0
)
clusterer = dict(eps=0.5)
