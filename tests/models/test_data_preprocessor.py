"""From uint8 pixels to network input: normalisation, erasing, views, on any device and memory layout."""

import numpy as np
import pytest
import torch

from mmreid_uda.models import ReIDDataPreprocessor
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import ReIDDataSample
from mmreid_uda.utils import InputError, make_rng
from mmreid_uda.utils.parallel import without_kernels

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def make_batch(*shape, **samples):
    images = make_rng(0, "images").integers(0, 256, (*shape, 3), dtype=np.uint8)
    return {"inputs": torch.from_numpy(images), "samples": samples}


def slow(images, boxes=None, fill=MEAN):
    """Images one by one: BGR to RGB, to [0, 1], normalise, erase."""
    result = []
    for number, image in enumerate(images.numpy()):
        normalized = (image[..., ::-1] / 255 - MEAN) / STD
        if boxes is not None:
            y, x, h, w = boxes[number].tolist()
            normalized[y : y + h, x : x + w] = fill
        result.append(normalized.transpose(2, 0, 1))
    return np.stack(result)


BOXES = torch.tensor([[0, 0, 0, 0], [3, 2, 10, 5], [60, 30, 3, 1], [0, 0, 63, 31]])


def test_normalizes_and_erases_as_the_slow_loop():
    batch = make_batch(4, 64, 32, erase_box=BOXES, gt_label=torch.arange(4))
    inputs = ReIDDataPreprocessor()(batch, training=True)["inputs"]
    assert inputs.shape == (4, 3, 64, 32) and inputs.dtype == torch.float32
    assert inputs.is_contiguous()
    np.testing.assert_allclose(inputs, slow(batch["inputs"], BOXES), atol=1e-5)


@pytest.mark.parametrize("bgr_to_rgb", [True, False])
def test_the_compiled_pass_gives_the_very_bits_of_torch(bgr_to_rgb):
    pytest.importorskip("numba")
    # One box reaches over the edge; with 1 and 2 views, more and fewer images than ranges of rows.
    boxes = torch.tensor(
        [[0, 0, 0, 0], [3, 2, 10, 5], [60, 30, 9, 9], [0, 0, 63, 31], [1, 1, 1, 1]]
    )
    preprocessor = ReIDDataPreprocessor(
        bgr_to_rgb=bgr_to_rgb, mean=(1.1, 99.9, 200.3), erase_value=(0.1, -2.0, 1 / 3)
    )
    pairs = torch.stack([boxes, boxes.flip(0)], dim=1)
    for batch in (
        make_batch(5, 64, 33, erase_box=boxes),
        make_batch(5, 2, 64, 33, erase_box=pairs),
        make_batch(40, 7, 5),
    ):
        compiled = preprocessor(batch)["inputs"]
        with without_kernels():
            plain = preprocessor(batch)["inputs"]
        for one, other in zip(compiled, plain):
            assert torch.equal(one.view(torch.int32), other.view(torch.int32))


def test_erased_pixels_are_the_constants_exactly():
    batch = make_batch(4, 64, 32, erase_box=BOXES)
    inputs = ReIDDataPreprocessor(erase_value=(0.1, 0.2, 0.3))(batch)["inputs"]
    assert (inputs[1, :, 3:13, 2:7] == torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)).all()
    clean = ReIDDataPreprocessor()(make_batch(4, 64, 32))["inputs"]
    assert torch.equal(inputs[0], clean[0])  # an empty box changes nothing
    assert torch.equal(inputs[1, :, :3], clean[1, :, :3])


def test_nothing_is_erased_without_boxes():
    batch = make_batch(2, 64, 32, gt_label=torch.arange(2))
    np.testing.assert_allclose(
        ReIDDataPreprocessor()(batch)["inputs"], slow(batch["inputs"]), atol=1e-5
    )


def test_rgb_pixels_are_left_in_order():
    batch = make_batch(2, 8, 4)
    rgb = {"inputs": batch["inputs"].flip(-1)}
    swapped = ReIDDataPreprocessor()(batch)["inputs"]
    assert torch.equal(ReIDDataPreprocessor(bgr_to_rgb=False)(rgb)["inputs"], swapped)


def test_views_become_a_tuple_each_with_its_own_boxes():
    boxes = torch.stack([BOXES, BOXES.flip(0)], dim=1)
    batch = make_batch(4, 2, 64, 32, erase_box=boxes, gt_label=torch.arange(4))
    inputs = ReIDDataPreprocessor()(batch)["inputs"]
    assert isinstance(inputs, tuple) and len(inputs) == 2
    for view in range(2):
        expected = slow(batch["inputs"][:, view], boxes[:, view])
        np.testing.assert_allclose(inputs[view], expected, atol=1e-5)


def test_samples_become_a_data_sample_without_the_boxes():
    batch = make_batch(4, 64, 32, erase_box=BOXES, gt_label=torch.arange(4), domain=torch.ones(4))
    samples = ReIDDataPreprocessor()(batch)["data_samples"]
    assert isinstance(samples, ReIDDataSample) and set(samples.keys()) == {"gt_label", "domain"}
    assert samples.gt_label.tolist() == [0, 1, 2, 3]
    assert set(batch["samples"]) == {"erase_box", "gt_label", "domain"}  # the batch is left alone


def test_images_alone_are_enough():
    result = ReIDDataPreprocessor()({"inputs": make_batch(2, 8, 4)["inputs"]})
    assert result["data_samples"] is None and result["inputs"].shape == (2, 3, 8, 4)


def test_stays_in_float32_under_autocast():
    batch = make_batch(4, 64, 32, erase_box=BOXES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inputs = ReIDDataPreprocessor()(batch)["inputs"]
    assert inputs.dtype == torch.float32
    assert torch.equal(inputs, ReIDDataPreprocessor()(batch)["inputs"])


def test_has_no_weights_in_a_checkpoint_and_is_built_by_name():
    preprocessor = MODELS.build(dict(type="ReIDDataPreprocessor"))
    assert not preprocessor.state_dict() and not list(preprocessor.parameters())


def test_float_images_are_refused_with_the_remedy():
    with pytest.raises(InputError, match=r"torch.float32, expected uint8.*Normalize"):
        ReIDDataPreprocessor()({"inputs": torch.zeros(2, 8, 4, 3)})


def test_wrong_number_of_channels_is_refused():
    with pytest.raises(InputError, match=r"std=\(1\.0, 1\.0\) .* expected 3 numbers"):
        ReIDDataPreprocessor(std=(1.0, 1.0))
    with pytest.raises(InputError, match=r"std=\(1\.0, 0, 1\.0\) .* above 0"):
        ReIDDataPreprocessor(std=(1.0, 0, 1.0))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_gives_what_the_cpu_gives():
    batch = make_batch(4, 64, 32, erase_box=BOXES, gt_label=torch.arange(4))
    batch["inputs"] = batch["inputs"].pin_memory()
    result = ReIDDataPreprocessor().cuda()(batch)
    assert result["inputs"].is_cuda and result["data_samples"].gt_label.is_cuda
    np.testing.assert_allclose(result["inputs"].cpu(), slow(batch["inputs"], BOXES), atol=1e-5)


def test_the_number_of_source_images_stays_on_the_host():
    batch = make_batch(3, 8, 4, domain=torch.tensor([0, 1, 1]))
    counted = ReIDDataPreprocessor()(batch)["data_samples"]
    assert counted.count_source() == 1
    said = ReIDDataPreprocessor()({**batch, "num_source": 2})["data_samples"]
    assert said.count_source() == 2, "what the batch says is not looked up"
    assert said[1:].count_source() == 0, "a part is another batch"
