# ABMT with a source, whose images enter the distance that is clustered and are not trained on.
_base_ = "./abmt_usl.py"

train_dataloader = dict(batch_sampler=dict(domains=("target",)))
default_hooks = dict(cluster=dict(clusterer=dict(source_weight=0.1)))
