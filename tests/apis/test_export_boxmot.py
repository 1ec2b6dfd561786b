"""BoxMOT's graph, behind BoxMOT's own preprocessing, gives the model's features, whatever constants the model has."""

import json

import cv2
import numpy as np
import pytest
import torch
from deployment import make_model

from mmreid_uda.apis import model_fingerprint
from mmreid_uda.apis.export_boxmot import BoxMOTGraph, BoxMOTReader, export_boxmot
from mmreid_uda.structures import ReIDDataSample
from mmreid_uda.utils import InputError, make_rng

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

PIXELS = make_rng(0).integers(0, 256, (5, 64, 32, 3), dtype=np.uint8)
OTHER = dict(type="ReIDDataPreprocessor", mean=(127.5, 120, 100), std=(127.5, 60, 80))


def predicted(model):
    """Features of PIXELS, BGR, by ``mode='predict'``."""
    batch = model.data_preprocessor({"inputs": torch.from_numpy(PIXELS)})
    with torch.no_grad():
        [sample] = model(batch["inputs"], ReIDDataSample(pid=torch.zeros(5)), mode="predict")
    return sample.features.numpy()


def as_documented(path, images):
    """What BoxMOT 25 does with crops and an ONNX file, one image and one channel after the other."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    [given] = session.get_inputs()
    features = []
    for image in images:
        resized = cv2.resize(image, (given.shape[3], given.shape[2]))  # bilinear, in BGR
        planes = []
        for place, (mean, std) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))):
            planes.append((resized[..., 2 - place].astype(np.float64) / 255 - mean) / std)
        batch = np.array([planes], dtype=np.float32)
        row = session.run(None, {given.name: batch})[0][0]
        features.append(row / np.sqrt((row.astype(np.float64) ** 2).sum()))
    return np.array(features)


@pytest.mark.parametrize(
    "config, options, converts",
    [
        pytest.param(
            "ise_mbv2_synthb", {"model.data_preprocessor": OTHER}, True, marks=pytest.mark.slow
        ),
        # BGR into the network, whose constants are in that order then.
        ("ise_mbv2_synthb", {"model.data_preprocessor": dict(OTHER, bgr_to_rgb=False)}, True),
        # The mean of two teachers, both flips, the feature before the neck.
        pytest.param(
            "mmt-k150_mbv2_syntha2synthb",
            {"model.test_cfg": dict(flip=True, feature="pooled")},
            False,
            marks=pytest.mark.slow,
        ),
    ],
)
def test_their_preprocessing_and_our_graph_give_the_predicted_features(
    config, options, converts, tmp_path
):
    model = make_model(config, options)
    export_boxmot(model, tmp_path / "m.onnx")
    assert BoxMOTGraph(model).converts is converts
    expected = predicted(model)
    assert (expected @ expected.T).min() < 0.99  # else a wrong affine would not be seen
    np.testing.assert_allclose(as_documented(tmp_path / "m.onnx", PIXELS), expected, atol=1e-5)
    reader = BoxMOTReader(tmp_path / "m.onnx", threads=1)
    for batch_size in (1, 2, 5):
        np.testing.assert_allclose(reader(PIXELS, batch_size), expected, atol=1e-5)


@pytest.fixture(scope="module")
def model():
    """A model with ImageNet's constants."""
    return make_model("ise_mbv2_synthb")


@pytest.fixture(scope="module")
def graph_file(model, tmp_path_factory):
    """Its graph."""
    path = tmp_path_factory.mktemp("boxmot") / "m.onnx"
    assert export_boxmot(model, path) == path.with_name("m.onnx.metadata.json")
    return path


def test_the_files_keep_the_contract(model, graph_file):
    import onnx

    graph = onnx.load(graph_file)
    onnx.checker.check_model(graph)
    assert graph.ir_version <= 10
    session = onnxruntime.InferenceSession(str(graph_file))
    [given], [out] = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == (
        "images", "tensor(float)", ["batch", 3, 64, 32],
    )  # fmt: skip
    assert (out.name, out.type) == ("output0", "tensor(float)") and len(out.shape) == 2
    content = json.loads(graph_file.with_name("m.onnx.metadata.json").read_text())
    assert content["img_size"] == content["model_kwargs"]["img_size"] == [64, 32]
    assert content["preprocess"] == "resize"
    assert content["model_name"] == "ise_mbv2_synthb" and isinstance(content["num_classes"], int)
    assert content["fingerprint"] == model_fingerprint(model, model.cfg)


def test_crops_of_any_size_are_resized_as_theirs(model, graph_file):
    assert not BoxMOTGraph(model).converts
    reader = BoxMOTReader(graph_file, threads=1)
    np.testing.assert_allclose(reader(PIXELS), predicted(model), atol=1e-5)
    crops = [
        cv2.GaussianBlur(make_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8), (9, 9), 0)
        for size in ((150, 61), (30, 20), (64, 32))
    ]
    np.testing.assert_allclose(reader(crops), as_documented(graph_file, crops), atol=1e-5)


def test_boxmot_itself_gives_the_same(tmp_path, monkeypatch):
    checks = pytest.importorskip("boxmot.utils.checks")
    for name in ("check_packages", "sync_extra"):  # which would install packages
        monkeypatch.setattr(checks.RequirementsChecker, name, lambda *args, **options: None)
    from boxmot.reid.core import ReID

    model = make_model("ise_mbv2_synthb", {"model.data_preprocessor": OTHER})
    export_boxmot(model, tmp_path / "m.onnx")
    found = np.asarray(ReID(tmp_path / "m.onnx")(list(PIXELS)))
    np.testing.assert_allclose(found, predicted(model), atol=1e-5)


def test_wrong_names_and_pipelines_are_sentences(tmp_path):
    model = make_model("ise_mbv2_synthb")
    with pytest.raises(InputError, match=r"expected a name in \.onnx"):
        export_boxmot(model, tmp_path / "m.pt")
    model.cfg.test_pipeline[1]["keep_ratio"] = True
    with pytest.raises(InputError, match="no keep_ratio"):
        export_boxmot(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
