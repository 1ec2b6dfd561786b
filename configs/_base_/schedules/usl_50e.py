# The schedule of Cluster-Contrast and ISE: Adam, a tenth of the rate every 20 epochs, 256 = 16 x 16 images.
global_batch_size = 256
num_instances = 16
iters_per_epoch = 400

optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=3.5e-4, weight_decay=5e-4))
auto_scale_lr = dict(base_batch_size=256, enable=False)
param_scheduler = dict(type="StepLR", step_size=20, gamma=0.1)
train_cfg = dict(by_epoch=True, max_epochs=50, val_interval=10)
