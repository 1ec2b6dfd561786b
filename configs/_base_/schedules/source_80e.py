# Stage 1 of MMT, ABMT and the UDA strong baseline: Adam, 80 epochs of 200 iterations, 64 = 16 x 4 images per domain.
# Ten epochs of linear warm-up from a hundredth of the rate, a tenth of it after 40 and again after 70 epochs. ABMT's
# code steps the schedule at the end of an epoch, as here; MMT's at its start, see source-mmt.
global_batch_size = 64
num_instances = dict(source=4, target=0)  # target images come in plain random order
iters_per_epoch = 200

optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=3.5e-4, weight_decay=5e-4))
auto_scale_lr = dict(base_batch_size=64, enable=False)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, begin=0, end=11),
    dict(type="MultiStepLR", milestones=[40, 70], gamma=0.1),
]
train_cfg = dict(by_epoch=True, max_epochs=80, val_interval=40)
