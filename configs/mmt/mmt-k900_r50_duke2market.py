_base_ = "./mmt-k500_r50_duke2market.py"

default_hooks = dict(cluster=dict(clusterer=dict(num_clusters=900)))
