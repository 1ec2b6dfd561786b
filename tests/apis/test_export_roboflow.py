"""Roboflow's folder holds a network of timm whose features are the model's; what it cannot express is refused."""

import json

import numpy as np
import PIL.Image
import pytest
import torch
from deployment import make_model

from mmreid_uda.apis import ReIDInferencer
from mmreid_uda.apis.export_roboflow import RoboflowReader, export_roboflow
from mmreid_uda.utils import InputError, make_rng


@pytest.fixture(scope="module")
def timm():
    from mmreid_uda.compat import install

    install()
    pytest.importorskip("safetensors")
    return pytest.importorskip("timm")


def model_of(name, size=(64, 32), encoder=None, **options):
    """A model with a backbone of timm, and running statistics of its own."""
    networks = dict(
        _delete_=True, type="ReIDEncoder", backbone=dict(type="TimmBackbone", name=name)
    )
    networks.update(encoder or {})
    return make_model(
        "ise_mbv2_synthb",
        {"encoder": networks, "input_size": size, "resize_backend": "pillow", **options},
    )


POOLED = {"model.test_cfg": dict(feature="pooled")}
CROPS = [
    make_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    for size in ((128, 64), (40, 20), (64, 32))
]


def as_documented(timm, folder, crops):
    """What reid 0.1 does with a saved model and crops, one channel after the other."""
    from safetensors import safe_open

    said = json.loads((folder / "reid_config.json").read_text())
    kind, _, name = said["architecture"].partition(":")
    assert kind == "timm"
    net = timm.create_model(name, pretrained=False, num_classes=0).eval()
    with safe_open(folder / "weights.safetensors", "pt") as file:
        net.load_state_dict({key: file.get_tensor(key) for key in file.keys()}, strict=True)  # noqa: SIM118
    how = said["preprocessing"]
    assert how["to_rgb"] and how["resize_mode"] == "stretch"
    height, width = how["input_size"]
    features = []
    for crop in crops:
        image = PIL.Image.fromarray(np.ascontiguousarray(crop[..., ::-1]))
        image = image.resize((width, height), getattr(PIL.Image, how["interpolation"].upper()))
        planes = [
            (np.asarray(plane, np.float64) / 255 - mean) / std
            for plane, mean, std in zip(image.split(), how["mean"], how["std"])
        ]
        with torch.no_grad():
            [row] = net(torch.tensor(np.array([planes]), dtype=torch.float32)).numpy()
        features.append(row / np.linalg.norm(row))
    return np.array(features)


def by_us(model, crops):
    """Features of crops by the inferencer's own way."""
    inferencer = object.__new__(ReIDInferencer)
    inferencer.model, inferencer.cfg = model, model.cfg
    inferencer.batch_size, inferencer.num_workers, inferencer.show_progress = 4, 0, False
    return inferencer.extract(list(crops))


@pytest.mark.parametrize(
    "name, size, options",
    [
        # Without a neck, with other constants.
        (
            "resnet10t",
            (64, 32),
            {
                **POOLED,
                "model.data_preprocessor": dict(
                    type="ReIDDataPreprocessor", mean=(127.5,) * 3, std=(127.5, 60, 80)
                ),
            },
        ),
        # A neck behind a layer norm, whose affine takes it.
        ("test_vit", (160, 160), {}),
    ],
)
def test_what_it_builds_gives_the_models_features(timm, name, size, options, tmp_path):
    model = model_of(name, size, **options)
    said = export_roboflow(model, tmp_path / "m")
    assert sorted(one.name for one in said.parent.iterdir()) == [
        "reid_config.json",
        "weights.safetensors",
    ]
    expected = by_us(model, CROPS)
    np.testing.assert_allclose(as_documented(timm, tmp_path / "m", CROPS), expected, atol=2e-5)
    np.testing.assert_allclose(RoboflowReader(tmp_path / "m")(CROPS, 2), expected, atol=2e-5)


def test_roboflow_itself_gives_the_same(timm, tmp_path):
    reid = pytest.importorskip("reid")
    model = model_of("resnet10t", **POOLED)
    export_roboflow(model, tmp_path / "m")
    files = [tmp_path / f"{place}.png" for place in range(3)]
    for file, crop in zip(files, CROPS):
        PIL.Image.fromarray(np.ascontiguousarray(crop[..., ::-1])).save(file)
    theirs = reid.ReIDModel.from_pretrained(str(tmp_path / "m"), device="cpu")
    found = theirs.extract_embeddings_from_paths([str(one) for one in files])
    found = found / np.linalg.norm(found, axis=1, keepdims=True)
    np.testing.assert_allclose(found, by_us(model, CROPS), atol=2e-5)


@pytest.mark.parametrize(
    "name, size, encoder, options, words",
    [
        ("resnet10t", (64, 32), {}, {}, "behind resnet10t stands a BNNeck"),
        ("resnet10t", (64, 32), {"pool": dict(type="GeM")}, POOLED, "pooling or output is its own"),
        ("test_vit", (64, 32), {}, {}, "built for 160×160 there, and the model takes 64×32"),
        (
            "resnet10t",
            (64, 32),
            {},
            {"model.test_cfg": dict(flip=True, feature="pooled")},
            "an image and its mirror",
        ),
        (
            "test_vit",
            (160, 160),
            {"backbone": dict(type="TimmBackbone", name="test_vit", depth=1)},
            POOLED,
            "other tensors without the arguments",
        ),
        ("-", (64, 32), {"backbone": dict(type="ResNet", depth=18)}, {}, "the backbone is ResNet"),
        (
            "resnet10t",
            (64, 32),
            {},
            {
                **POOLED,
                "model.data_preprocessor": dict(type="ReIDDataPreprocessor", bgr_to_rgb=False),
            },
            "images in BGR order",
        ),
    ],
)
def test_what_it_cannot_express_is_a_sentence_that_names_another_target(
    timm, name, size, encoder, options, words, tmp_path
):
    model = model_of(name, size, encoder, **options)
    with pytest.raises(InputError, match=f"(?s)cannot express this model: .*{words}.*--to boxmot"):
        export_roboflow(model, tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_a_kernel_that_it_does_not_know_is_a_sentence(timm, tmp_path):
    model = model_of("resnet10t", **POOLED)
    model.cfg.test_pipeline[1].update(backend="pillow", interpolation="hamming")
    with pytest.raises(InputError, match="resized by hamming, and it knows nearest, bilinear"):
        export_roboflow(model, tmp_path / "m")


def test_several_networks_are_a_sentence(timm, tmp_path):
    with pytest.raises(InputError, match="that of 2 networks"):
        export_roboflow(make_model("mmt-k150_mbv2_syntha2synthb"), tmp_path / "m")
