"""ExampleProject: its config trains, and the new loss is added to those of ClusterContrast."""

from pathlib import Path

import pytest
import torch

from mmreid_uda.config import load_config
from mmreid_uda.testing import build_model, random_batch

CONFIG = Path(__file__).parent / "configs" / "example-project_mbv2_synthb.py"


def losses(weight):
    cfg = load_config(CONFIG, {"model.weight": weight, "stage1": None})
    model = build_model(cfg)
    return model, model(*random_batch(cfg), mode="loss")


def test_one_training_step_reaches_the_network():
    model, parts = losses(weight=0.01)
    total, _ = model.parse_losses(parts)
    total.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert torch.isfinite(total) and all(torch.isfinite(grad).all() for grad in gradients)
    assert any(grad.any() for grad in gradients)


def test_the_new_loss_follows_its_weight_and_the_others_stay():
    (_, once), (_, twice), (_, never) = (losses(weight) for weight in (0.01, 0.02, 0.0))
    assert twice["loss_norm"].item() == pytest.approx(2 * once["loss_norm"].item())
    assert once["loss_norm"] > 0 and never["loss_norm"] == 0
    for name in once.keys() - {"loss_norm"}:
        assert once[name].item() == pytest.approx(never[name].item())
