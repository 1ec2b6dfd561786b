# For a thousand small images on two CPU cores: a few short epochs, 64 = 16 x 4 images of 128 x 64 pixels.
global_batch_size = 64
num_instances = 4
iters_per_epoch = 25

optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=3.5e-4, weight_decay=5e-4))
auto_scale_lr = dict(base_batch_size=64, enable=False)
param_scheduler = dict(type="StepLR", step_size=6, gamma=0.1)
train_cfg = dict(by_epoch=True, max_epochs=10, val_interval=2)

resize_backend = "cv2"  # on a CPU the time counts
