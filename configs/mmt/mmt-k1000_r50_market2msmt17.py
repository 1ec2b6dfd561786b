_base_ = "./mmt-k500_r50_market2msmt17.py"

default_hooks = dict(cluster=dict(clusterer=dict(num_clusters=1000)))
