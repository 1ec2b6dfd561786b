# ExampleProject on rendered pedestrians.
_base_ = [
    "../../../configs/_base_/methods/cluster_contrast.py",
    "../../../configs/_base_/encoders/mbv2.py",
    "../../../configs/_base_/schedules/usl_small.py",
]
custom_imports = dict(imports=["projects.example_project.example_project"])

target = "synthb"
model = dict(type="ExampleProject", weight=0.01)
clusterer = dict(eps=0.55, k1=10, k2=4)
