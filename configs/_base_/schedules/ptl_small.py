# PTL on some hundred small crops: sixteen short epochs on one CPU core.
_base_ = "./ptl_450e.py"

global_batch_size = 16
iters_per_epoch = 40  # 80 people, four at a time, twice
param_scheduler = [dict(type="MultiStepLR", milestones=[12], gamma=0.1)]
train_cfg = dict(max_epochs=16, val_interval=16)

resize_backend = "cv2"  # on a CPU the time counts
