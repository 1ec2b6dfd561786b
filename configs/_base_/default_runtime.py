# What every run shares: logs, checkpoints, evaluation, checks over ranks.
default_scope = "mmreid_uda"
# RUNNERS.build(Config.fromfile(...)) trains as tools/train.py does: this Runner applies the recipe.
runner_type = "mmreid_uda.ReIDRunner"
custom_imports = dict(imports=["mmreid_uda.registry"])

default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50),
    param_scheduler=dict(type="ParamSchedulerHook"),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    # Chosen on the test set, so it is kept and labelled, not reported: the result is the last epoch's.
    checkpoint=dict(
        type="CheckpointHook", interval=1, max_keep_ckpts=2, save_best="auto", rule="greater"
    ),
    epoch_seed=dict(type="EpochSeedHook"),
    finite=dict(type="FiniteHook"),
    consistency=dict(type="ConsistencyHook"),
    report=dict(type="ReportHook"),
)
custom_hooks = []

env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend="nccl"),
)
vis_backends = [dict(type="LocalVisBackend")]
visualizer = dict(type="Visualizer", vis_backends=vis_backends)
log_processor = dict(window_size=50)
log_level = "INFO"
load_from = None
resume = False
randomness = dict(seed=1)
