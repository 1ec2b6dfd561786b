"""The inferencer gives the features of the test loop, whatever form images have, and says what is wrong with them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from deployment import SMALL, call_tool, make_model, write_checkpoint
from torch.utils.data import Subset, TensorDataset

from mmreid_uda.apis import ReIDInferencer, model_fingerprint
from mmreid_uda.apis.inputs import list_inputs
from mmreid_uda.datasets import build_dataset
from mmreid_uda.utils import InputError

ISE = "configs/ise/ise_mbv2_synthb.py"
# The mean of two teachers, which is clustered as it is, and tested at unit norm.
MMT = "configs/mmt/mmt-k150_mbv2_syntha2synthb.py"
CLUSTERS = """
stage1 = None
default_hooks['cluster']['clusterer'] = dict(num_clusters=8)
"""


@pytest.mark.slow
@pytest.mark.parametrize("base", [ISE, MMT])
def test_a_feature_is_that_of_the_test_tool(tiny, tmp_path, base):
    config = tiny(base, extra=CLUSTERS if base == MMT else "")
    checkpoint = write_checkpoint(tmp_path / "epoch_1.pth", make_model(config))
    dump = tmp_path / "features.npz"
    options = (f"val_evaluator.dump_features={dump}", "launcher=none")
    call_tool("tools/test.py", config, checkpoint, "--cfg-options", *options)
    inferencer = ReIDInferencer(config, checkpoint, "cpu")
    with np.load(dump) as tested:
        rows = tested["is_query"] == 0
        expected = tested["features"][rows][np.argsort(tested["sample_idx"][rows])]
    gallery = build_dataset(inferencer.cfg.target, "gallery", data_root=inferencer.cfg.data_root)
    features = inferencer(gallery.paths)
    assert features.shape == expected.shape and features.dtype == np.float32
    np.testing.assert_allclose(features, expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-6)


def test_files_arrays_folders_and_lists_are_the_same_images(inferencer, crops, tmp_path):
    (tmp_path / "b").mkdir()
    for name, path in zip(("b/2.png", "a.png", "b/10.png"), crops):
        cv2.imwrite(str(tmp_path / name), cv2.imread(path))
    (tmp_path / "notes.txt").write_text("not an image")
    pixels = [cv2.imread(path) for path in crops[:3]]
    expected = inferencer(crops[:3])
    np.testing.assert_allclose(inferencer(pixels), expected, atol=1e-6)
    np.testing.assert_allclose(inferencer(pixels[1]), expected[1:2], atol=1e-6)
    # A folder in the order of its names: a, b/10, b/2.
    np.testing.assert_allclose(inferencer.extract(tmp_path), expected[[1, 2, 0]], atol=1e-6)
    mixed = [tmp_path / "a.png", pixels[0], str(tmp_path / "b")]
    np.testing.assert_allclose(inferencer(mixed), expected[[1, 0, 2, 0]], atol=1e-6)
    assert list_inputs(tmp_path) == [
        str(tmp_path / name) for name in ("a.png", "b/10.png", "b/2.png")
    ]


def test_batches_and_workers_change_nothing(inferencer, checkpoint, crops):
    other = ReIDInferencer(
        "ise_mbv2_synthb", checkpoint, "cpu", options=SMALL, batch_size=5, num_workers=1
    )
    np.testing.assert_allclose(other(crops[:12]), inferencer(crops[:12]), atol=1e-6)


def test_comparison_is_the_cosine(inferencer, crops):
    first, second = inferencer(crops[:2])
    assert inferencer.compare(crops[0], cv2.imread(crops[1])) == pytest.approx(first @ second)
    assert inferencer.compare(crops[0], crops[0]) == pytest.approx(1)
    assert first @ second < 0.999


@pytest.mark.parametrize("index", ["flat", "ivf", "hnsw"])
def test_search_finds_an_image_and_its_like_after_saving_and_loading(
    inferencer, checkpoint, crops, tmp_path, index
):
    if index != "flat":
        pytest.importorskip("faiss")
    inferencer.build_gallery(crops, index).save(tmp_path / "gallery.npz")
    fresh = ReIDInferencer("ise_mbv2_synthb", checkpoint, "cpu", options=SMALL)
    fresh.load_gallery(tmp_path / "gallery.npz")
    features = inferencer(crops)
    order = np.argsort(-(features[4] @ features.T), kind="stable")
    [matches] = fresh.search(crops[4], topk=5)
    assert [match.path for match in matches] == [crops[one] for one in order[:5]]
    assert [match.path for match in matches] == [crops[position] for position in order[:5]]
    expected = features[4] @ features[order[:5]].T
    assert [match.similarity for match in matches] == pytest.approx(expected.tolist(), abs=1e-5)
    assert [len(found) for found in fresh.search(crops[:2], topk=1000)] == [len(crops)] * 2


def test_pixels_in_a_gallery_have_a_name(inferencer, crops):
    inferencer.build_gallery([crops[0], cv2.imread(crops[1])])
    assert inferencer.search(crops[1], 1)[0][0].path == "<array 1>"


def test_a_fingerprint_is_that_of_tested_weights_and_preprocessing(inferencer, checkpoint):
    other = ReIDInferencer("ise_mbv2_synthb", checkpoint, "cpu", options=SMALL)
    assert other.fingerprint == inferencer.fingerprint and len(other.fingerprint) == 64
    model, cfg, found = other.model, other.cfg, [other.fingerprint]
    for change in (
        lambda: setattr(model, "flip", True),
        lambda: setattr(model, "feature", "pooled"),
        lambda: model.data_preprocessor.mean.add_(1),
        lambda: setattr(model.data_preprocessor, "bgr_to_rgb", False),
        lambda: cfg.test_pipeline[1].update(scale=(48, 64)),
        lambda: model.encoder.neck.bn.weight.data[0].add_(1e-3),
        lambda: model.encoder.neck.bn.running_mean[0].add_(1e-3),
    ):
        change()
        found.append(model_fingerprint(model, cfg))
    assert len(set(found)) == len(found)
    model.encoder.neck.bn.num_batches_tracked.add_(1)
    model.head.requires_grad_(False)
    for tensor in (*model.head.parameters(), *model.head.buffers()):
        tensor.zero_()
    assert model_fingerprint(model, cfg) == found[-1]  # neither is tested


def test_a_gallery_of_another_model_is_refused(inferencer, checkpoint, crops, tmp_path):
    inferencer.build_gallery(crops[:2]).save(tmp_path / "gallery.npz")
    flipped = ReIDInferencer(
        "ise_mbv2_synthb", checkpoint, "cpu", options={**SMALL, "model.test_cfg": dict(flip=True)}
    )
    with pytest.raises(InputError, match=f"{inferencer.fingerprint[:12]}.*build the gallery again"):
        flipped.load_gallery(tmp_path / "gallery.npz")
    assert flipped.gallery is None


def test_a_bar_is_shown_on_a_terminal_for_several_batches(inferencer, crops, capfd, monkeypatch):
    monkeypatch.setattr(inferencer, "batch_size", 2)
    inferencer(crops[:5])
    assert capfd.readouterr() == ("", "")  # not a terminal
    monkeypatch.setenv("FORCE_COLOR", "1")
    inferencer(crops[:2])
    assert "features" not in capfd.readouterr().err  # one batch
    inferencer(crops[:5])
    captured = capfd.readouterr()
    assert "100%" in captured.err and captured.out == ""


# ---- bad input


@pytest.mark.parametrize(
    "inputs, words",
    [
        ("none.jpg", "'none.jpg' does not exist"),
        ([], "empty list"),
        (np.zeros((4, 4), np.uint8), r"shape \(4, 4\)"),
        (np.zeros((4, 4, 3), np.float32), "array of float32"),
        ([3], "found a int"),
        (3, "found a int"),
        (None, "found a NoneType"),
    ],
)
def test_inputs_that_are_no_images_are_one_sentence(inferencer, inputs, words):
    with pytest.raises(InputError, match=words):
        inferencer(inputs)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_named(inferencer, crops, tmp_path, monkeypatch, workers):
    (tmp_path / "cut.jpg").write_bytes(Path(crops[0]).read_bytes()[:100])
    monkeypatch.setattr(inferencer, "num_workers", workers)
    with pytest.raises(
        InputError, match=r"cut.jpg' \(100 bytes\) cannot be decoded.*leave it out"
    ) as caught:
        inferencer([crops[0], tmp_path / "cut.jpg"])
    assert "corrupt=" not in str(caught.value)


@pytest.mark.slow
def test_a_dataset_is_seen_through_the_test_pipeline_and_others_as_they_are(inferencer, crops):
    people = dict(name="synthb", num_train_ids=12, num_test_ids=6, images_per_id=6)
    root = str(Path(crops[0]).parents[3])
    dataset = build_dataset(people, "gallery", data_root=root)
    expected = inferencer.extract(crops[:3])
    np.testing.assert_allclose(inferencer.extract(dataset)[:3], expected, atol=1e-6)
    packed = build_dataset(people, "gallery", data_root=root, pipeline=inferencer.cfg.test_pipeline)
    np.testing.assert_allclose(inferencer.extract(Subset(packed, [0, 1, 2])), expected, atol=1e-6)
    for wrong, words in (
        (Subset(dataset, [0]), "first item of a Subset, expected what the test pipeline packs"),
        (TensorDataset(torch.zeros(2, 3)), "found a tuple as the first item of a TensorDataset"),
        (Subset(packed, []), "dataset of 0 images"),
    ):
        with pytest.raises(InputError, match=words):
            inferencer.extract(wrong)


@pytest.mark.parametrize(
    "value, words", [(float("nan"), "1 row with NaN"), (0.0, "1 row of zeros")]
)
def test_a_feature_that_is_none_is_named_by_its_image(inferencer, crops, monkeypatch, value, words):
    extract_feat = inferencer.model.extract_feat

    def spoilt(*inputs, **options):
        features = extract_feat(*inputs, **options).clone()
        features[1] = value
        return features

    monkeypatch.setattr(inferencer.model, "extract_feat", spoilt)
    with pytest.raises(InputError, match=f"{words}.*first is '{crops[1]}'.*diverged"):
        inferencer.extract(crops[:3])


@pytest.mark.parametrize(
    "wrong, named",
    [
        (dict(batch_size=0), "batch_size=0 .* at least 1"),
        (dict(num_workers=-1), "num_workers=-1 .* at least 0"),
        (dict(batch_size="3"), "batch_size='3' .* at least 1"),
    ],
)
def test_numbers_that_cannot_be_are_told_before_the_model_is_built(wrong, named):
    with pytest.raises(InputError, match=named):
        ReIDInferencer("ise_mbv2_synthb", "none.pth", "cpu", **wrong)


def test_an_empty_folder_and_a_comparison_of_three_are_one_sentence(inferencer, crops, tmp_path):
    with pytest.raises(InputError, match="found 0 images"):
        inferencer.extract(tmp_path)
    cv2.imwrite(str(tmp_path / "a.png"), cv2.imread(crops[0]))
    cv2.imwrite(str(tmp_path / "b.png"), cv2.imread(crops[0]))
    with pytest.raises(InputError, match="found 3 images to compare"):
        inferencer.compare(tmp_path, crops[0])


def test_a_search_without_a_gallery_is_one_sentence(inferencer, crops, monkeypatch):
    monkeypatch.setattr(inferencer, "gallery", None)
    with pytest.raises(InputError, match="no gallery to search"):
        inferencer.search(crops[0])
