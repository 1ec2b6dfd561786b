"""Extraction: features with and without workers, mixed precision on request, channels last in effect, cameras told."""

import copy

import cv2
import numpy as np
import pytest
import torch

from mmreid_uda.datasets import FolderReIDDataset
from mmreid_uda.engine import extract_features, with_pipeline
from mmreid_uda.models.algorithms import BaseReID
from mmreid_uda.models.layers import CameraEmbedding
from mmreid_uda.structures import Evidence

IMAGES, BATCH = 11, 4
PIPELINE = [
    dict(type="LoadReIDImage"),
    dict(type="Resize", scale=(32, 64), interpolation="bicubic"),
    dict(type="PackReIDInputs"),
]


@pytest.fixture
def dataset(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        image = rng.integers(0, 256, (64, 32, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / f"{number:02d}.png"), image)
    return FolderReIDDataset(str(tmp_path), pipeline=PIPELINE, labels="unlabeled")


def make_model(**encoder):
    torch.manual_seed(0)
    backbone = dict(type="MobileNetV2")
    return BaseReID(encoder=dict(type="ReIDEncoder", backbone=backbone, **encoder))


def test_features_are_unit_rows_in_the_order_of_the_data_whatever_the_workers(dataset):
    model = make_model()
    features = extract_features(model, dataset, BATCH, num_workers=0)
    assert features.shape == (IMAGES, model.encoder.embed_dim) and features.dtype == torch.float32
    assert torch.allclose(features.norm(dim=1), torch.ones(IMAGES))
    assert torch.equal(extract_features(model, dataset, BATCH, num_workers=2), features)
    assert model.training
    alone = FolderReIDDataset(dataset.root, pipeline=PIPELINE, labels="unlabeled", indices=[7])
    assert torch.allclose(extract_features(model, alone, BATCH, 0)[0], features[7], atol=1e-5)


def test_a_caller_hears_how_far_it_has_come(dataset):
    heard = []
    extract_features(make_model(), dataset, BATCH, num_workers=0, update=heard.append)
    assert heard == [4, 8, 11]


def test_a_view_has_another_pipeline_and_the_same_labels(dataset):
    view = with_pipeline(dataset, [lambda results: results["gt_label"]])
    dataset.set_labels(torch.arange(IMAGES))
    assert [view[index] for index in range(IMAGES)] == list(range(IMAGES))
    assert "inputs" in dataset[0]


def test_mixed_precision_computes_in_its_type_and_gives_float32_unit_rows(dataset):
    model, types = make_model(), []
    convolution = next(one for one in model.modules() if isinstance(one, torch.nn.Conv2d))
    convolution.register_forward_hook(lambda _, __, output: types.append(output.dtype))
    exact = extract_features(model, dataset, BATCH, 0)
    mixed = extract_features(model, dataset, BATCH, 0, torch.bfloat16)
    assert types == [torch.float32] * 3 + [torch.bfloat16] * 3
    assert mixed.dtype == torch.float32
    assert torch.allclose(mixed.norm(dim=1), torch.ones(IMAGES))
    assert not torch.equal(mixed, exact) and (mixed * exact).sum(1).min() > 0.98


def test_channels_last_reaches_every_convolution_of_an_extraction(dataset):
    model, strides = make_model(channels_last=True), []
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(
                lambda _, inputs, __: strides.append(
                    inputs[0].is_contiguous(memory_format=torch.channels_last)
                )
            )
    features = extract_features(model, dataset, BATCH, 0)
    assert len(strides) > 100 and all(strides)
    assert torch.allclose(features, extract_features(make_model(), dataset, BATCH, 0), atol=1e-5)


@pytest.mark.parametrize("own_network", [False, True])
def test_cameras_of_a_target_and_of_a_test_set_reach_the_encoder(dataset, own_network):
    model = make_model()
    seen = []
    model.encoder.register_forward_hook(
        lambda module, args, out: seen.append(model.embedding.cameras)
    )
    model.embedding = CameraEmbedding(2, 4)
    network = (lambda x: model.extract_feat(x)) if own_network else None
    cameras = np.arange(IMAGES) % 3 - 1  # some are unknown
    for split, domain, expected in (
        ("train", 1, cameras.tolist()),
        ("train", 0, [-1] * IMAGES),  # a source's
        ("gallery", 0, cameras.tolist()),
    ):
        seen.clear()
        view = copy.copy(dataset)
        view.split, view.domain, view.evidence = split, domain, Evidence(cameras)
        extract_features(model, view, BATCH, num_workers=0, network=network)
        assert torch.cat(seen).tolist() == expected
    assert model.embedding.cameras is None
