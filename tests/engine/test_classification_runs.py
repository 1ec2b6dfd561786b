"""Datasets of other packages in a real Runner: items with ``data_samples`` instead of this package's samples."""

import pytest
import torch
from mmengine.dataset import default_collate, pseudo_collate
from mmengine.structures import BaseDataElement
from torch.utils.data import Dataset

from mmreid_uda.config import load_config, read_config
from mmreid_uda.datasets.transforms import reid_collate
from mmreid_uda.engine import build_runner
from mmreid_uda.models import ReIDDataPreprocessor
from mmreid_uda.registry import DATASETS
from mmreid_uda.utils import InputError

# What docs/configuration.md says on items of this kind, and a network that is quick.
CHILD = """
_base_ = "{base}"

model = dict(
    head=dict(num_classes=3),
    data_preprocessor=dict(
        type="ImgDataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
)
encoder = dict(
    backbone=dict(
        trunk=dict(width_mult=0.25, init_cfg=None), blocks=[dict(out_layer="features.18", fuse=8)]
    )
)
train_dataloader = dict(
    batch_size=6,
    collate_fn=dict(type="{collate}"),
    dataset=dict(_delete_=True, type="ColorDataset", pack="{pack}"),
)
val_dataloader = dict(
    collate_fn=dict(type="{collate}"),
    dataset=dict(_delete_=True, type="ColorDataset", pack="{pack}"),
)
train_cfg = dict(max_epochs=1, val_interval=1)
default_hooks = dict(report=dict(evaluate_before=False))
"""
BASE = "backbone_mbv2_digits"


@DATASETS.register_module()
class ColorDataset(Dataset):
    """Twelve images of three colours, uint8 (3, 32, 32); the label is that of a sample, or a number."""

    def __init__(self, pack):
        self.pack = pack

    def __len__(self):
        return 12

    def __getitem__(self, index):
        label = index % 3
        inputs = torch.zeros(3, 32, 32, dtype=torch.uint8)
        inputs[label] = 100 + 10 * index
        sample = BaseDataElement(gt_label=torch.tensor([label]))
        return dict(inputs=inputs, data_samples=sample if self.pack == "sample" else label)


def test_labels_are_learned_however_the_items_of_a_dataset_have_them(tmp_path):
    weights, accuracies = [], []
    for pack, collate in (("sample", "pseudo_collate"), ("number", "default_collate")):
        path = tmp_path / f"{pack}.py"
        read_config(BASE).dump(tmp_path / "base.py")
        path.write_text(CHILD.format(base="./base.py", pack=pack, collate=collate))
        runner = build_runner(load_config(str(path), {"work_dir": str(tmp_path / pack)}))
        before = [row.clone() for row in runner.model.head.parameters()]
        runner.train()
        after = list(runner.model.head.parameters())
        assert not any(torch.equal(one, other) for one, other in zip(before, after))
        weights.append(torch.cat([row.flatten() for row in after]))
        accuracies.append(runner.message_hub.get_scalar("val/accuracy/top1").current())
    assert torch.equal(*weights) and accuracies[0] == accuracies[1] and 0 <= accuracies[0] <= 100


@pytest.mark.parametrize("pack, collate", [("sample", pseudo_collate), ("number", default_collate)])
def test_the_pipeline_of_re_identification_names_what_such_items_want(pack, collate):
    items = [ColorDataset(pack)[index] for index in range(2)]
    with pytest.raises(InputError, match=r"\['data_samples', 'inputs'\].*pseudo_collate"):
        reid_collate(items)
    with pytest.raises(InputError, match="ImgDataPreprocessor"):
        ReIDDataPreprocessor()(collate(items))
