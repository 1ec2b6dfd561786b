# Images in, batches out: recipe keys name the data (see mmreid_uda/config/recipe.py), loaders and transforms are here.
data_root = "data"
source = None
target = None
test = None  # the target's test set
input_size = None  # (height, width); what is usual for the target
cache = None  # memory for decoded images of each training set, such as "2GiB"

# The papers' pipeline: Pillow's bicubic, antialiased, is not OpenCV's, which is faster (resize_backend="cv2").
# Pixels stay uint8; normalisation and erasing happen on the device.
train_pipeline = [
    dict(type="LoadReIDImage"),
    dict(type="Resize", interpolation="bicubic", backend="pillow"),
    dict(type="RandomHorizontalFlip", prob=0.5),
    dict(type="PadRandomCrop", padding=10),
    dict(type="RandomErasingBox", prob=0.5),
    dict(type="PackReIDInputs"),
]
test_pipeline = [
    dict(type="LoadReIDImage"),
    dict(type="Resize", interpolation="bicubic", backend="pillow"),
    dict(type="PackReIDInputs"),
]

train_dataloader = dict(
    num_workers="auto",  # follows the machine
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    batch_sampler=dict(type="DomainBatchSampler"),
    collate_fn=dict(type="mmreid_uda.reid_collate"),
    dataset=dict(type="CrossDomainDataset"),
)
val_dataloader = dict(
    batch_size=128,
    num_workers="auto",
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="mmreid_uda.reid_collate"),
    dataset=dict(type="ReIDTestDataset"),
)
val_evaluator = dict(type="ReIDMetric")
val_cfg = dict()
test_cfg = dict()
