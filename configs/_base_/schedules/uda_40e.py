# Stage 2 of MMT and ABMT: Adam with a constant rate, 64 = 16 x 4 images, 40 x 400 iterations.
global_batch_size = 64
num_instances = 4
iters_per_epoch = 400

optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=3.5e-4, weight_decay=5e-4))
auto_scale_lr = dict(base_batch_size=64, enable=False)
train_cfg = dict(by_epoch=True, max_epochs=40, val_interval=10)
