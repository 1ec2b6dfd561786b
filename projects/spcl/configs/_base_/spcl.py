# SpCL: self-paced clusters of a memory that lives through the training, single images as classes of their own.
_base_ = [
    "../../../../configs/_base_/default_runtime.py",
    "../../../../configs/_base_/datasets/reid.py",
]
custom_imports = dict(imports=["projects.spcl.spcl"])

model = dict(
    type="SpCL",
    head=dict(
        type="ClusterMemoryHead",
        temperature=0.05,
        memory=dict(type="HybridMemory", momentum=0.2),
    ),
)
clusterer = dict(
    type="SelfPacedDBSCAN", eps=0.6, eps_gap=0.02, min_samples=4, share=0.9, k1=30, k2=6
)
