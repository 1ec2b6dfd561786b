"""PTL's schedule beside the released script's."""

from collections import Counter

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS

from mmreid_uda.config import load_config


def test_the_rates_last_as_many_epochs_as_in_the_released_script():
    cfg = load_config("configs/ptl/mgn-ptl_r50_market.py")
    options = {k: v for k, v in cfg.optim_wrapper.optimizer.items() if k != "type"}
    wrapper = OptimWrapper(torch.optim.Adam(torch.nn.Linear(1, 1).parameters(), **options))
    [scheduler] = [
        PARAM_SCHEDULERS.build(dict(one, optimizer=wrapper)) for one in cfg.param_scheduler
    ]
    epochs = Counter()
    for _ in range(cfg.train_cfg.max_epochs):
        epochs[f"{wrapper.param_groups[0]['lr']:.0e}"] += 1
        scheduler.step()
    assert epochs == {"2e-04": 320, "2e-05": 40, "2e-06": 40, "2e-07": 50}
