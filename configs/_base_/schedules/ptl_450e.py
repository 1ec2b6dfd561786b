# PTL: Adam (AMSGrad), 16 = 4 x 4 images, 450 epochs, each of which shows every person of Market-1501 once.
global_batch_size = 16
num_instances = 4
iters_per_epoch = 187  # 751 people, four at a time

optim_wrapper = dict(
    type="OptimWrapper", optimizer=dict(type="Adam", lr=2e-4, weight_decay=5e-4, amsgrad=True)
)
auto_scale_lr = dict(base_batch_size=16, enable=False)
# The scheduler of torch 0.4.1, which the released script steps at the start of an epoch, counts epochs from 0, as here.
param_scheduler = [dict(type="MultiStepLR", milestones=[320, 360, 400], gamma=0.1)]
train_cfg = dict(by_epoch=True, max_epochs=450, val_interval=50)
