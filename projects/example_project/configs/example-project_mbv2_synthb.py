# ExampleProject on the data of cluster-contrast_mbv2_synthb.
_base_ = [
    "../../../configs/_base_/methods/cluster_contrast.py",
    "../../../configs/_base_/encoders/mbv2.py",
    "../../../configs/_base_/schedules/usl_small.py",
]

target = "synthb"
# Ten images per person: fewer neighbours than on Market-1501, where there are seventeen.
clusterer = dict(eps=0.55, k1=10, k2=4)

custom_imports = dict(imports=["projects.example_project.example_project"])
model = dict(type="ExampleProject", weight=0.01)
