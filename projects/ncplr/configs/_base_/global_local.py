# Global-local NCPLR: the same for the whole image and its halves, on a mix of their distances.
_base_ = [
    "../../../../configs/_base_/default_runtime.py",
    "../../../../configs/_base_/datasets/reid.py",
]
custom_imports = dict(imports=["projects.ncplr.global_local"])

model = dict(
    type="GlobalLocalNCPLR",
    head=dict(
        type="ClusterMemoryHead",
        temperature=0.05,
        memory=dict(type="ClusterMemory", update="momentum", momentum=0.1, init="mean"),
    ),
    max_distance=0.2,
    weigh="farther",
    alpha=0.1,
    part_weight=0.2,
    part_alpha=0.3,
    mix_temperature=5.0,
)
clusterer = dict(type="GlobalLocalDBSCAN", eps=0.5, min_samples=4, k1=30, k2=6, part_weight=0.2)
