"""The exported graph computes what prediction computes, for every family of methods, at any batch size."""

import hashlib
import json
import sys

import numpy as np
import pytest
import torch
from deployment import REPOSITORY, make_model

from mmreid_uda.apis import export_onnx, model_fingerprint
from mmreid_uda.apis.deploy import FeatureGraph, describe_input
from mmreid_uda.registry import TRANSFORMS
from mmreid_uda.structures import ReIDDataSample
from mmreid_uda.utils import InputError, make_rng

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
sys.path.append(str(REPOSITORY / "tools" / "deploy"))
from run_onnx import OnnxExtractor

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 64, 32, 3), dtype=np.uint8)

VIT = {
    f"encoder.backbone.{key}": value
    for key, value in dict(
        stem="ics", part_tokens=3, cameras=2, depth=2, embed_dim=48, num_heads=3
    ).items()
}


def predicted(model):
    """Features of PIXELS by ``mode='predict'``."""
    batch = model.data_preprocessor({"inputs": torch.from_numpy(PIXELS)})
    with torch.no_grad():
        [sample] = model(batch["inputs"], ReIDDataSample(pid=torch.zeros(5)), mode="predict")
    return sample.features.numpy()


@pytest.mark.parametrize(
    "config, options, dim",
    [
        ("cluster-contrast_mbv2_synthb", {}, 1280),
        # The mean of two teachers.
        ("mmt-k150_mbv2_syntha2synthb", {}, 1280),
        # Two branches.
        ("abmt_mbv2_syntha2synthb", {}, 2560),
        # A domain's own statistics, both flips, the feature before the neck, BGR into the network, other constants.
        (
            "strong-baseline_mbv2_syntha2synthb",
            {
                "model.test_cfg": dict(flip=True, feature="pooled"),
                "model.data_preprocessor": dict(
                    type="ReIDDataPreprocessor", bgr_to_rgb=False, mean=(1, 2, 3), std=(50, 60, 70)
                ),
            },
            1280,
        ),
        # Tokens of a transformer, positions, attention; a stem with instance norms; the cameras of nobody.
        ("ise_vit-t_synthb", VIT, 96),
    ],
)
def test_the_graph_gives_the_predicted_features(config, options, dim, tmp_path):
    model = make_model(config, options)
    description = json.loads(export_onnx(model, tmp_path / "m.onnx").read_text())
    extractor = OnnxExtractor(tmp_path / "m.onnx", threads=1)
    images, expected = list(PIXELS), predicted(model)
    for batch_size in (1, 2, 5):
        features = extractor(images, batch_size)
        assert features.shape == (5, dim) and features.dtype == np.float32
        np.testing.assert_allclose(features, expected, atol=1e-5)
    assert (1 - np.einsum("nd,nd->n", features, expected)).max() < 1e-6
    assert description["fingerprint"] == model_fingerprint(model, model.cfg)
    content = (tmp_path / "m.onnx").read_bytes()
    assert description["onnx_sha256"] == hashlib.sha256(content).hexdigest()
    assert description["output"] == {"name": "features", "dim": dim, "norm": 1.0}


def test_half_precision_halves_the_file_and_keeps_the_features(tmp_path):
    model = make_model("ise_mbv2_synthb")
    for name, half in (("full", False), ("half", True)):
        export_onnx(model, tmp_path / f"{name}.onnx", half)
    sizes = [(tmp_path / f"{name}.onnx").stat().st_size for name in ("half", "full")]
    assert sizes[0] < 0.55 * sizes[1]
    features = OnnxExtractor(tmp_path / "half.onnx", threads=1)(list(PIXELS))
    assert features.dtype == np.float32
    assert (1 - np.einsum("nd,nd->n", features, predicted(model))).max() < 1e-3
    assert next(model.parameters()).dtype == torch.float32 and model.flip is False


@pytest.mark.parametrize("config", ["ise_mbv2_synthb", "strong-baseline_mbv2_syntha2synthb"])
def test_norms_far_from_zero_survive_half_precision(config, tmp_path):
    model = make_model(config)
    expected = predicted(model)
    # The same network: what a norm takes away before it divides, it adds again afterwards.
    for name, module in model.named_modules():
        if ".backbone." in name and isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean += 40 * (module.running_var + module.eps).sqrt()
            module.bias.data += 40 * module.weight.data
    np.testing.assert_allclose(predicted(model), expected, atol=1e-4)
    export_onnx(model, tmp_path / "half.onnx", fp16=True)
    features = OnnxExtractor(tmp_path / "half.onnx", threads=1)(list(PIXELS))
    assert (1 - np.einsum("nd,nd->n", features, expected)).max() < 1e-3


class Swapped(torch.nn.Module):
    """A convolution and a norm that run in the other order than they are defined in."""

    def __init__(self):
        super().__init__()
        self.data_preprocessor = torch.nn.Module()
        self.data_preprocessor.bgr_to_rgb = True
        self.data_preprocessor.mean = self.data_preprocessor.std = torch.ones(1, 3, 1, 1)
        self.conv, self.norm = torch.nn.Conv2d(3, 3, 1), torch.nn.BatchNorm2d(3)
        self.norm.running_var.copy_(torch.tensor([1.0, 20.0, 300.0]))

    def extract_feat(self, images):
        return self.conv(self.norm(images)).mean((2, 3))


def test_layers_that_run_in_another_order_are_not_folded():
    graph, images = FeatureGraph(Swapped()), torch.from_numpy(PIXELS)
    half = graph.halved(images)
    assert isinstance(half.model.norm, torch.nn.BatchNorm2d)
    torch.testing.assert_close(half(images).float(), graph(images), atol=2e-3, rtol=0)
    assert graph.model.conv.weight.dtype == torch.float32


PLAIN = [
    dict(type="LoadReIDImage"),
    dict(type="Resize", scale=(32, 64)),
    dict(type="PackReIDInputs"),
]


def test_the_way_to_the_graph_is_described():
    expected = dict(height=64, width=32, interpolation="bilinear", backend="cv2")
    assert describe_input(PLAIN) == expected
    load, resize, pack = PLAIN
    papers = [load, dict(resize, interpolation="bicubic", backend="pillow"), pack]
    assert describe_input(papers) == dict(expected, interpolation="bicubic", backend="pillow")


@pytest.mark.parametrize(
    "backend, interpolation",
    [("cv2", "bicubic"), ("cv2", "area"), ("pillow", "bicubic"), ("pillow", "lanczos")],
)
@pytest.mark.parametrize("size", [(300, 100), (75, 31)])
def test_a_deployment_resizes_as_the_pipeline(backend, interpolation, size):
    load, resize, pack = PLAIN
    resize = dict(resize, interpolation=interpolation, backend=backend)
    image = make_rng(0).integers(256, size=(*size, 3), dtype=np.uint8)
    extractor = object.__new__(OnnxExtractor)
    extractor.description = {"input": dict(describe_input([load, resize, pack]), colour="BGR")}
    expected = TRANSFORMS.build(resize)({"img": image})["img"]
    assert expected.shape == (64, 32, 3)
    np.testing.assert_array_equal(extractor.prepare(image), expected)


@pytest.mark.parametrize(
    "step, changes, words",
    [
        (0, dict(imdecode_backend="pillow"), "found decoding by pillow"),
        (1, dict(backend="pillow", interpolation="area"), "or 'pillow' with one of .*hamming"),
        (1, dict(backend="turbo"), "backend 'cv2' with one of"),
        (1, dict(keep_ratio=True), "keep_ratio"),
        (1, dict(type="RandomCrop"), "LoadReIDImage, RandomCrop, PackReIDInputs"),
    ],
)
def test_what_a_deployment_cannot_repeat_is_refused(step, changes, words):
    pipeline = [dict(one) for one in PLAIN]
    pipeline[step].update(changes)
    with pytest.raises(InputError, match=words):
        describe_input(pipeline)


def test_a_wrong_name_and_a_missing_package_are_one_sentence(inferencer, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"expected a name in \.onnx"):
        export_onnx(inferencer.model, tmp_path / "m.pth")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"no package `onnx`.*mmreid_uda\[deploy\]"):
        export_onnx(inferencer.model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_a_layer_that_onnx_does_not_know_is_one_sentence(tmp_path):
    model = make_model("ise_mbv2_synthb")
    model.extract_feat = lambda x: torch.special.bessel_j0(x.mean((2, 3)))
    with pytest.raises(InputError, match=r"ise_mbv2_synthb cannot be exported \(.*bessel"):
        export_onnx(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
