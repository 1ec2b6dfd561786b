# Stage 2 on rendered people: ten short epochs on two CPU cores, 64 = 16 x 4 images of 128 x 64 pixels.
_base_ = "./uda_40e.py"

iters_per_epoch = 25
train_cfg = dict(max_epochs=10, val_interval=2)

resize_backend = "cv2"  # on a CPU the time counts
