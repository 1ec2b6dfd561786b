"""A training step of every algorithm, on random images of a small network."""

from pathlib import Path

import torch
from mmengine.optim import OptimWrapper

from mmreid_uda.config import load_config
from mmreid_uda.datasets.transforms import reid_collate
from mmreid_uda.testing import build_model

REPOSITORY = Path(__file__).parents[1]
_ISE = "configs/ise/ise_mbv2_synthb.py"
_FAT = "configs/fat/fat_mbv2_synthb.py"
_CC = "configs/cluster_contrast/cluster-contrast_mbv2_synthb.py"
_MGN = {
    "encoder.backbone.init_cfg": None,
    "encoder.embed_dim": 32,
}
STEPS = {
    "Cluster-Contrast, momentum": (_CC, {}),
    "Cluster-Contrast, hard": (_CC, {"model.head.memory.update": "hard"}),
    "Cluster-Contrast, mean": (_CC, {"model.head.memory.update": "mean"}),
    "Cluster-Contrast, instances": (
        _CC,
        {"model.head.memory": dict(_delete_=True, type="InstanceMemory")},
    ),
    "ISE": (_ISE, {}),
    "ISE, momentum, k = 2": (
        _ISE,
        {"model.head.memory.update": "momentum", "model.num_neighbors": 2},
    ),
    "source": ("configs/source/source_mbv2_syntha2synthb.py", {}),
    "clustering baseline": ("configs/mmt/cluster-baseline_mbv2_syntha2synthb.py", {}),
    "MMT": ("configs/mmt/mmt-dbscan_mbv2_syntha2synthb.py", {}),
    "MMT without theta_2": ("mmt-wo-theta2_mbv2_syntha2synthb", {}),
    "ABMT": ("configs/abmt/abmt_mbv2_syntha2synthb.py", {}),
    "strong baseline": ("configs/strong_baseline/strong-baseline_mbv2_syntha2synthb.py", {}),
    "FAT": (_FAT, {}),
    "FAT, images of the batch": (_FAT, {"model.negatives": "batchNeg"}),
    "FAT, all centroids": (
        _FAT,
        {"model.terms": "XE-doubleTri-mg", "model.negatives": "ctrdAll"},
    ),
    "PTL": ("configs/ptl/ptl_mbv2_synthb.py", {}),
    "PTL-v2": ("ptl-v2_mbv2_synthb", {}),
    "PTL on MGN": ("configs/ptl/mgn-ptl_r50_market.py", _MGN),
    "STD": ("std_mbv2_synthb", {"model.teacher.checkpoint": "none"}),
    "classification": ("configs/ptl/ptl_mbv2_digits.py", {}),
    "SpCL": ("projects/spcl/configs/spcl_mbv2_synthb.py", {}),
    "SpCL, two domains": ("projects/spcl/configs/spcl_mbv2_syntha2synthb.py", {}),
    "MEB-Net": ("projects/mebnet/configs/mebnet_mbv2_syntha2synthb.py", {}),
    "example": ("projects/example_project/configs/example-project_mbv2_synthb.py", {}),
}
"""Name -> config and options; ImageNet weights and first stages are not needed."""


def make_step(name, copies=2):
    """Model, optimiser wrapper (SGD) and batch of a step with four people, ``copies`` images of each per domain."""
    config, options = STEPS[name]
    cfg = load_config(config, {"stage1": None, **options})
    model = build_model(cfg).train()
    sampler = cfg.train_dataloader.get("batch_sampler", {})
    drawn = sampler.get("domains", ("source", "target"))
    dataset = cfg.train_dataloader.dataset
    domains = [
        d for d, kind in enumerate(("source", "target")) if dataset.get(kind) and kind in drawn
    ]
    views = [
        step.num_views for step in cfg.get("train_pipeline", ()) if step["type"] == "MultiView"
    ]
    generator = torch.Generator().manual_seed(0)
    items = [
        dict(
            inputs=torch.randint(
                0, 256, (*views, 64, 32, 3), dtype=torch.uint8, generator=generator
            ),
            samples=dict(gt_label=place // copies, sample_idx=place % 12, camid=0, domain=domain),
        )
        for domain in domains or [0]
        for place in range(4 * copies)
    ]
    optim_wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-3))
    return model, optim_wrapper, reid_collate(items)
