# PTL: Adam (AMSGrad), 16 = 4 x 4 images, 450 epochs, each of which shows every person of Market-1501 once.
global_batch_size = 16
num_instances = 4
iters_per_epoch = 187  # 751 people, four at a time

optim_wrapper = dict(
    type="OptimWrapper", optimizer=dict(type="Adam", lr=2e-4, weight_decay=5e-4, amsgrad=True)
)
auto_scale_lr = dict(base_batch_size=16, enable=False)
# 320, 360 and 400 in the released script, whose scheduler steps at the start of an epoch: one epoch earlier than here.
param_scheduler = [dict(type="MultiStepLR", milestones=[319, 359, 399], gamma=0.1)]
train_cfg = dict(by_epoch=True, max_epochs=450, val_interval=50)
