# The distance that is clustered does not ask the source (lambda = 0).
_base_ = "./abmt_r50_duke2market.py"

default_hooks = dict(cluster=dict(clusterer=dict(source_weight=0.0)))
