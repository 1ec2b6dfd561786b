# TransReID-SSL: SGD on all parameters, a tenth of the rate every 20 epochs, 256 = 32 x 8 images, 200 iterations.
_base_ = "./usl_50e.py"

num_instances = 8
iters_per_epoch = 200

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="SGD", lr=3.5e-4, momentum=0.9, weight_decay=5e-4)
)
