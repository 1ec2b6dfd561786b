# ExampleProject on the data of cluster-contrast_mbv2_synthb.
_base_ = "../../../configs/cluster_contrast/cluster-contrast_mbv2_synthb.py"
custom_imports = dict(imports=["projects.example_project.example_project"])

model = dict(type="ExampleProject", weight=0.01)
