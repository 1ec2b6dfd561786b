"""Transforms: the papers' pipeline step by step, beside slow references written with PIL and plain loops."""

import math

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import Resize as MMCVResize
from PIL import Image, ImageOps
from torch.utils.data import DataLoader

from mmreid_uda.datasets import FolderReIDDataset
from mmreid_uda.datasets.transforms import (
    LoadReIDImage,
    MultiView,
    PackReIDInputs,
    PadRandomCrop,
    RandomCamera,
    RandomCrop,
    RandomErasingBox,
    RandomHorizontalFlip,
    Resize,
    reid_collate,
)
from mmreid_uda.datasets.transforms.filming import coarsen, expose
from mmreid_uda.models import ReIDDataPreprocessor
from mmreid_uda.registry import FUNCTIONS, TRANSFORMS
from mmreid_uda.utils import InputError, make_rng


@pytest.fixture
def image():
    return make_rng(0, "image").integers(1, 256, (64, 32, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    for number in range(12):
        pixels = make_rng(number, "file").integers(0, 256, (40, 20, 3), dtype=np.uint8)
        person = tmp_path / f"p{number // 3}"
        person.mkdir(exist_ok=True)
        cv2.imwrite(str(person / f"{number}.jpg"), pixels)
    return tmp_path


def apply(transform, image, *keys):
    return transform({"img": image, "rng": make_rng(*keys)})


# ---------------------------------------------------------------- loading


def test_png_is_loaded_exactly_as_bgr_by_both_backends(tmp_path, image):
    path = str(tmp_path / "a.png")
    cv2.imwrite(path, image)
    for backend in ("cv2", "pillow"):
        loaded = LoadReIDImage(imdecode_backend=backend)({"img_path": path})["img"]
        assert loaded.dtype == np.uint8 and loaded.flags.c_contiguous
        np.testing.assert_array_equal(loaded, image)


JPEGS = {
    "plain": dict(quality=80),
    "fine": dict(quality=95, subsampling=0),
    "half": dict(quality=60, subsampling=1),
    "coarse": dict(quality=30, subsampling=2),
    "progressive": dict(quality=75, progressive=True),
}


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize("size", [(64, 128), (31, 75), (300, 768)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_opencv_decodes_jpeg_to_the_pixels_of_pillow(tmp_path, options, size, mode):
    """So the published recipes decode with OpenCV, and resize as the papers do."""
    pixels = make_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).convert(mode)
    path = tmp_path / "a.jpg"
    image.save(path, **options)
    loaded = LoadReIDImage()({"img_path": str(path)})["img"]
    np.testing.assert_array_equal(loaded[..., ::-1], np.asarray(Image.open(path).convert("RGB")))


def test_gray_file_gets_three_equal_channels(tmp_path, image):
    path = str(tmp_path / "grey.pgm")
    cv2.imwrite(path, image[..., 0])
    loaded = LoadReIDImage()({"img_path": path})["img"]
    np.testing.assert_array_equal(loaded, np.repeat(image[..., :1], 3, axis=2))


@pytest.mark.parametrize("backend", ["cv2", "pillow"])
@pytest.mark.parametrize("content", [b"", b"no image", "cut"])
def test_corrupt_file_is_named_in_one_sentence(tmp_path, image, backend, content):
    path = tmp_path / "broken.jpg"
    if content == "cut":
        content = cv2.imencode(".jpg", image)[1].tobytes()
        content = content[: len(content) // 2]
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        LoadReIDImage(imdecode_backend=backend)({"img_path": str(path)})
    message = str(caught.value)
    assert str(path) in message and f"{len(content)} bytes" in message
    assert "corrupt='skip'" in message and "\n" not in message


def test_missing_file_is_named_in_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"'.*gone\.jpg' does not exist.*corrupt='skip'"):
        LoadReIDImage()({"img_path": str(tmp_path / "gone.jpg")})


def test_a_file_that_cannot_be_read_is_named_in_one_sentence(tmp_path):
    (tmp_path / "ring.jpg").symlink_to("ring.jpg")
    for name, reason in (("ring.jpg", "Too many levels"), (".", "Is a directory")):
        with pytest.raises(InputError, match=rf"cannot be read \({reason}"):
            LoadReIDImage()({"img_path": str(tmp_path / name)})


@pytest.mark.parametrize("backend", ["cv2", "pillow"])
@pytest.mark.parametrize("ending", [".png", ".tif", ".pgm"])
@pytest.mark.parametrize("bits", [9, 12, 16])
def test_a_sensor_of_more_than_8_bits_fills_the_range(tmp_path, backend, ending, bits):
    values = np.linspace(0, 2**bits - 1, 64 * 32).reshape(64, 32).astype(np.uint16)
    path = str(tmp_path / f"deep{ending}")
    cv2.imwrite(path, values)
    loaded = LoadReIDImage(imdecode_backend=backend)({"img_path": path})["img"]
    assert loaded.dtype == np.uint8 and loaded.shape == (64, 32, 3)
    assert np.array_equal(loaded[..., 0], values // 2 ** (bits - 8))


def test_a_dark_picture_of_8_bits_stays_dark(tmp_path):
    dark = np.full((4, 4, 3), 7, np.uint8)
    for name in ("a.png", "a.tif", "a.bmp"):
        cv2.imwrite(str(tmp_path / name), dark)
        assert np.array_equal(LoadReIDImage()({"img_path": str(tmp_path / name)})["img"], dark)


def test_corrupt_file_reads_the_same_from_a_worker(folder):
    (folder / "p0" / "0.jpg").write_bytes(b"broken")
    pipeline = [dict(type="LoadReIDImage"), dict(type="PackReIDInputs")]
    dataset = FolderReIDDataset(str(folder), pipeline=pipeline)
    messages = []
    for workers in (0, 1):
        with pytest.raises(InputError) as caught:
            list(DataLoader(dataset, batch_size=12, num_workers=workers, collate_fn=reid_collate))
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


@pytest.mark.slow
def test_corrupt_skip_leaves_the_broken_image_out(folder):
    (folder / "p0" / "0.jpg").write_bytes(b"broken")
    pipeline = [dict(type="LoadReIDImage"), dict(type="PackReIDInputs")]
    dataset = FolderReIDDataset(str(folder), pipeline=pipeline, corrupt="skip")
    assert len([dataset[index] for index in range(len(dataset))]) == 11


def test_unknown_backend_is_refused():
    with pytest.raises(InputError, match="imdecode_backend='turbo'"):
        LoadReIDImage(imdecode_backend="turbo")


# ---------------------------------------------------------------- resizing

SHAPES = [
    (1, 1),
    (3, 2),
    (2, 300),
    (300, 2),
    (128, 64),
    (75, 31),
    (256, 128),
    (512, 200),
    (768, 300),
]


@pytest.mark.slow
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("size", [(128, 256), (224, 224), (144, 432)])
def test_pillows_bicubic_is_repeated_to_the_pixel(size):
    """Both orders of the two passes, both directions; black and white drives sums out of the bytes."""
    rng = make_rng(0)
    resize = TRANSFORMS.build(
        dict(type="Resize", scale=size, interpolation="bicubic", backend="pillow")
    )
    for shape in [*SHAPES, *rng.integers(1, 400, (25, 2)).tolist()]:
        for noise in (rng.integers(0, 256, (*shape, 3)), 255 * rng.integers(0, 2, (*shape, 3))):
            pixels = noise.astype(np.uint8)
            expected = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
            found = resize({"img": pixels[..., ::-1]})
            np.testing.assert_array_equal(found["img"][..., ::-1], np.asarray(expected), str(shape))
            assert found["img_shape"] == size[::-1] and not found["keep_ratio"]
            assert found["scale_factor"] == (size[0] / shape[1], size[1] / shape[0])


@pytest.mark.parametrize(
    "options",
    [
        dict(backend="cv2", interpolation="bicubic"),
        dict(backend="cv2", interpolation="area", keep_ratio=True),
        dict(backend="pillow", interpolation="bicubic", keep_ratio=True),
        dict(backend="pillow", interpolation="lanczos"),
    ],
)
def test_all_else_is_resized_as_by_mmcv(options, image):
    for pixels in (image, image[..., 0]):
        ours, theirs = (one((20, 50), **options)({"img": pixels}) for one in (Resize, MMCVResize))
        np.testing.assert_array_equal(ours["img"], theirs["img"])
        assert ours["scale_factor"] == theirs["scale_factor"]


@pytest.mark.parametrize(
    "options, words",
    [
        (dict(backend="turbo"), "backend='turbo' for Resize, expected 'cv2' or 'pillow'"),
        (
            dict(backend="pillow", interpolation="area"),
            "'area' for Resize, .*'pillow' with .*hamming",
        ),
    ],
)
def test_what_a_library_cannot_do_is_refused_before_the_first_image(options, words):
    with pytest.raises(InputError, match=words):
        Resize((128, 256), **options)


# ---------------------------------------------------------------- geometry


def test_flip_mirrors_with_its_probability(image):
    flips = 0
    for seed in range(400):
        flipped = apply(RandomHorizontalFlip(prob=0.3), image, seed)["img"]
        mirrored = np.array_equal(flipped, image[:, ::-1])
        assert mirrored or np.array_equal(flipped, image)
        flips += mirrored
    assert abs(flips / 400 - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 400)


def test_pad_and_crop_is_a_window_of_the_padded_image_and_every_window_occurs(image):
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    windows = {padded[y : y + 64, x : x + 32].tobytes(): (y, x) for y in range(5) for x in range(5)}
    counts = dict.fromkeys(windows.values(), 0)
    for seed in range(1000):
        counts[windows[apply(PadRandomCrop(padding=2), image, seed)["img"].tobytes()]] += 1
    # 25 windows, 40 expected in each: chi-square with 24 degrees of freedom is below 60 but once in 10^4.
    assert sum((count - 40) ** 2 / 40 for count in counts.values()) < 60


def test_padding_is_filled_with_its_value_before_normalization(image):
    results = [apply(PadRandomCrop(padding=10, fill=0), image, seed)["img"] for seed in range(50)]
    assert any((result == 0).any() for result in results)
    shifted = [apply(PadRandomCrop(padding=10, fill=7), image * 0, s)["img"] for s in range(50)]
    assert {0, 7} == set(np.unique(shifted))


def test_image_smaller_than_the_padding_is_refused(image):
    with pytest.raises(InputError, match=r"8×32 pixels.*padding=10"):
        apply(PadRandomCrop(padding=10), image[:8], 0)


def test_random_crop_is_a_window_inside_the_image(image):
    windows = {image[y : y + 60, x : x + 30].tobytes(): (y, x) for y in range(5) for x in range(3)}
    seen = {
        windows[apply(RandomCrop((60, 30)), image, seed)["img"].tobytes()] for seed in range(300)
    }
    assert seen == set(windows.values())


def test_random_crop_refuses_a_smaller_image(image):
    with pytest.raises(InputError, match=r"64×32 pixels.*crop_size=65×32"):
        apply(RandomCrop((65, 32)), image, 0)


def test_fat_resizes_and_crops(folder):
    pipeline = [
        dict(type="LoadReIDImage"),
        dict(type="Resize", scale=(144, 432), interpolation="bicubic"),
        dict(type="RandomCrop", crop_size=(384, 128)),
        dict(type="RandomHorizontalFlip"),
        dict(type="PackReIDInputs"),
    ]
    item = FolderReIDDataset(str(folder), pipeline=pipeline)[0]
    assert item["inputs"].shape == (384, 128, 3) and "erase_box" not in item["samples"]


@pytest.mark.parametrize("name", ["RandomHorizontalFlip", "PadRandomCrop", "RandomCamera"])
def test_transforms_leave_their_input_image_alone(image, name):
    before = image.copy()
    for seed in range(5):
        apply(TRANSFORMS.build(dict(type=name)), image, seed)
    np.testing.assert_array_equal(image, before)


# ---------------------------------------------------------------- cameras


def slow_pixel(pixel, average, *, gains, curve, saturation, hue, haze):
    """What a sensor without noise makes of one pixel; ``average`` is that of the whole image before the haze."""
    grey = 0.114 * pixel[0] + 0.587 * pixel[1] + 0.299 * pixel[2]
    color = [grey + saturation * (value - grey) for value in pixel]
    # Rodrigues' rotation about the axis of greys, for a row that is multiplied from the left.
    middle = sum(color) / 3
    across = [(color[(i + 1) % 3] - color[(i + 2) % 3]) / math.sqrt(3) for i in range(3)]
    color = [
        middle + math.cos(hue) * (color[i] - middle) + math.sin(hue) * across[i] for i in range(3)
    ]
    color = [value * gain for value, gain in zip(color, gains)]
    if average is None:
        return color
    color = [value + haze * (average - value) for value in color]
    return [255 * (min(max(value, 0), 255) / 255) ** curve for value in color]


def test_exposure_is_that_of_the_formula_pixel_by_pixel(image):
    sensor = dict(gains=np.array((0.8, 1.1, 0.9)), curve=1.3, saturation=0.6, hue=0.2, haze=0.15)
    filmed = expose(image, make_rng(0), noise=0.0, **sensor)
    pixels = image.reshape(-1, 3).tolist()
    average = np.mean([slow_pixel(pixel, None, **sensor) for pixel in pixels])
    expected = np.array([slow_pixel(pixel, average, **sensor) for pixel in pixels])
    assert np.abs(filmed.reshape(-1, 3) - np.floor(expected)).max() <= 1
    assert (filmed.reshape(-1, 3) == np.floor(expected)).mean() > 0.99


def test_a_camera_further_away_keeps_the_shape_and_the_mean(image):
    small = coarsen(image, 16)
    assert small.shape == (16, 8, 3)
    np.testing.assert_allclose(small.mean((0, 1)), image.mean((0, 1)), atol=0.6)


def test_every_image_gets_a_camera_of_its_own_with_its_probability(image):
    changed = [
        not np.array_equal(apply(RandomCamera(prob=0.3), image, seed)["img"], image)
        for seed in range(400)
    ]
    assert abs(np.mean(changed) - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 400)
    means = {apply(RandomCamera(prob=1), image, seed)["img"].mean().round(3) for seed in range(20)}
    assert len(means) == 20, "another camera each"
    np.testing.assert_array_equal(
        apply(RandomCamera(), image, 3)["img"], apply(RandomCamera(), image, 3)["img"]
    )


def test_strength_of_a_camera_goes_from_nothing_upwards(image):
    smooth = cv2.resize(image, (8, 16))

    def change(strength):
        camera = RandomCamera(prob=1, strength=strength)
        return np.mean(
            [
                np.abs(apply(camera, smooth, seed)["img"] - smooth.astype(float)).mean()
                for seed in range(60)
            ]
        )

    assert change(0) < 1.01  # rounding
    assert 1 < change(0.5) < 0.8 * change(1)
    grey = apply(RandomCamera(prob=1, strength=0, grey=1), image, 0)["img"].astype(int)
    assert np.ptp(grey, axis=2).max() <= 1


def test_bad_parameters_of_a_camera_are_named():
    with pytest.raises(InputError, match=r"prob=1.5 for RandomCamera, expected .* from 0 to 1"):
        TRANSFORMS.build(dict(type="RandomCamera", prob=1.5))


# ---------------------------------------------------------------- erasing


def slow_erasing(uniform, randint, height, width):
    """Random erasing, word by word."""
    if uniform(0, 1) >= 0.5:
        return 0, 0, 0, 0
    for _ in range(100):
        area = uniform(0.02, 0.4) * height * width
        ratio = uniform(0.3, 1 / 0.3)
        h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if h < height and w < width:
            return randint(0, height - h), randint(0, width - w), h, w
    return 0, 0, 0, 0


def test_erase_box_is_drawn_as_the_papers_draw_it():
    image = np.zeros((256, 128, 3), np.uint8)
    for seed in range(300):
        rng = make_rng(seed, "erase")
        expected = slow_erasing(rng.uniform, lambda a, b, r=rng: r.integers(a, b + 1), 256, 128)
        box = apply(RandomErasingBox(), image, seed, "erase")["erase_box"]
        assert box.dtype == np.int64 and tuple(box) == expected


def test_erase_box_statistics():
    image = np.zeros((256, 128, 3), np.uint8)
    boxes = np.array(
        [apply(RandomErasingBox(prob=1.0), image, seed)["erase_box"] for seed in range(2000)]
    )
    top, left, h, w = boxes.T
    assert ((top + h <= 256) & (left + w <= 128) & (h < 256) & (w < 128) & (h > 0)).all()
    fraction = h * w / (256 * 128)
    assert fraction.min() > 0.018 and fraction.max() < 0.41
    # Uniform in the ratio: three quarters of the boxes are taller than wide (log-uniform: half of them).
    assert (h > w).mean() > 0.7


def test_erasing_gives_up_where_no_box_fits():
    wide = np.zeros((4, 400, 3), np.uint8)
    box = apply(RandomErasingBox(prob=1.0, aspect=(3, 3), attempts=5), wide, 0)["erase_box"]
    assert box.tolist() == [0, 0, 0, 0]


# ---------------------------------------------------------------- the pipeline as a whole


def test_pillow_pipeline_equals_the_papers_to_1e_5(folder):
    """Resize, flip, pad, crop, to [0, 1], normalise, erase: PIL and loops beside ours with backend='pillow'."""
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    transforms = [
        TRANSFORMS.build(config)
        for config in (
            dict(type="LoadReIDImage"),
            dict(type="Resize", scale=(128, 256), interpolation="bicubic", backend="pillow"),
            dict(type="RandomHorizontalFlip"),
            dict(type="PadRandomCrop", padding=10),
            dict(type="RandomErasingBox"),
            dict(type="PackReIDInputs"),
        )
    ]
    preprocessor, erased, flipped = ReIDDataPreprocessor(), 0, 0
    for seed, path in enumerate(sorted(folder.rglob("*.jpg"))):
        item = {"img_path": str(path), "rng": make_rng(seed)}
        for transform in transforms:
            item = transform(item)
        ours = preprocessor(reid_collate([item]))["inputs"][0].numpy()

        rng = make_rng(seed)
        pixels = Image.open(path).convert("RGB").resize((128, 256), Image.Resampling.BICUBIC)
        if rng.uniform(0, 1) < 0.5:
            pixels, flipped = pixels.transpose(Image.Transpose.FLIP_LEFT_RIGHT), flipped + 1
        top, left = rng.integers(-10, 11) + 10, rng.integers(-10, 11) + 10
        pixels = ImageOps.expand(pixels, border=10, fill=0)
        pixels = pixels.crop((left, top, left + 128, top + 256))
        expected = (np.asarray(pixels) / 255 - mean) / std
        y, x, h, w = slow_erasing(rng.uniform, lambda a, b, r=rng: r.integers(a, b + 1), 256, 128)
        expected[y : y + h, x : x + w] = mean  # the constants, on the normalised image
        erased += h > 0
        np.testing.assert_allclose(ours, expected.transpose(2, 0, 1), atol=1e-5)
    assert 0 < erased < 12 and 0 < flipped < 12


def test_equal_seeds_give_equal_images_and_others_differ(folder):
    pipeline = [
        dict(type="LoadReIDImage"),
        dict(type="PadRandomCrop", padding=10),
        dict(type="PackReIDInputs"),
    ]
    first, again, other = (
        FolderReIDDataset(str(folder), pipeline=pipeline, seed=seed)[3]["inputs"]
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


# ---------------------------------------------------------------- views


def test_two_views_are_independent_draws_from_the_same_image(image):
    transforms = [dict(type="PadRandomCrop", padding=3), dict(type="RandomErasingBox", prob=1.0)]
    results = apply(MultiView(transforms), image, 5)
    assert results["img"].shape == (2, 64, 32, 3) and results["erase_box"].shape == (2, 4)
    rng, crop, box = make_rng(5), PadRandomCrop(padding=3), RandomErasingBox(prob=1.0)
    for view in range(2):
        expected = box(crop({"img": image, "rng": rng}))
        np.testing.assert_array_equal(results["img"][view], expected["img"])
        np.testing.assert_array_equal(results["erase_box"][view], expected["erase_box"])
    assert not np.array_equal(results["img"][0], results["img"][1])


def test_the_number_of_views(image):
    flip = [dict(type="RandomHorizontalFlip")]
    three = apply(TRANSFORMS.build(dict(type="MultiView", num_views=3, transforms=flip)), image, 0)
    two = apply(TRANSFORMS.build(dict(type="MultiView", transforms=flip)), image, 0)
    assert three["img"].shape[0] == 3 and two["img"].shape[0] == 2 and "erase_box" not in two


# ---------------------------------------------------------------- packing and batches


def pack(image, **keys):
    return PackReIDInputs()({"img": image, **keys})


def test_pack_keeps_pixels_and_the_described_numbers(image):
    item = pack(image, gt_label=3, camid=1, rng=make_rng(0), img_path="a.jpg", is_query=True)
    assert item["inputs"].dtype == torch.uint8
    np.testing.assert_array_equal(item["inputs"].numpy(), image)
    assert item["samples"] == {"gt_label": 3, "camid": 1, "is_query": True}


def test_pack_passes_keys_of_ones_own(image):
    item = PackReIDInputs(extra_keys=("frame",))({"img": image, "gt_label": 0, "frame": 0.5})
    batch = reid_collate([item, item])
    assert batch["samples"]["frame"].tolist() == [0.5, 0.5]


def test_collate_stacks_images_and_samples(image):
    items = [pack(image + n, gt_label=n, is_query=n == 0, sample_idx=10 * n) for n in range(3)]
    batch = FUNCTIONS.get("reid_collate")(items)
    assert batch["inputs"].shape == (3, 64, 32, 3) and batch["inputs"].dtype == torch.uint8
    np.testing.assert_array_equal(batch["inputs"][2].numpy(), image + 2)
    samples = batch["samples"]
    assert samples["gt_label"].dtype == torch.int64 and samples["gt_label"].tolist() == [0, 1, 2]
    assert samples["is_query"].dtype == torch.bool and samples["is_query"].tolist() == [1, 0, 0]
    assert samples["sample_idx"].tolist() == [0, 10, 20]


def test_collate_counts_the_source_on_the_host(image):
    batch = reid_collate([pack(image, domain=domain) for domain in (0, 0, 1)])
    assert batch["num_source"] == 2 and type(batch["num_source"]) is int
    assert "num_source" not in reid_collate([pack(image, gt_label=1)])


@pytest.mark.parametrize("views", [None, 2])
def test_a_domain_without_erasing_gets_empty_boxes(image, views):
    box = np.array([1, 2, 3, 4])
    if views:
        image, box = np.stack([image] * views), np.stack([box] * views)
    boxes = reid_collate([pack(image), pack(image, erase_box=box)])["samples"]["erase_box"]
    assert boxes.dtype == torch.int64
    np.testing.assert_array_equal(boxes.numpy(), np.stack([box * 0, box]))


def test_images_of_different_sizes_are_refused_with_the_remedy(image):
    with pytest.raises(InputError, match=r"\(60, 32, 3\) and \(64, 32, 3\).*Resize"):
        reid_collate([pack(image), pack(image[:60])])
