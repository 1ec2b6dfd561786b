"""The cache gives the same items to the last bit, to every worker and view, and stops at its budget."""

import copy

import cv2
import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from torch.utils.data import DataLoader

from mmreid_uda.datasets import (
    CachedImages,
    CrossDomainDataset,
    CSVReIDDataset,
    FolderReIDDataset,
    Market1501,
    ReIDTestDataset,
)
from mmreid_uda.datasets.cache import record_of
from mmreid_uda.engine import with_pipeline
from mmreid_uda.registry import TRANSFORMS
from mmreid_uda.utils import InputError, SeededIndex

pytestmark = pytest.mark.slow

PEOPLE, CAMERAS = 4, 3
IMAGES = PEOPLE * CAMERAS
WIDTH, HEIGHT = 16, 32


@pytest.fixture
def folder(tmp_path):
    """Crops of several sizes, laid out as a folder per identity and listed in a CSV file."""
    rng = np.random.default_rng(0)
    lines = ["path,pid"]
    for pid in range(PEOPLE):
        (tmp_path / f"p{pid}").mkdir()
        for camera in range(CAMERAS):
            image = rng.integers(0, 256, (20 + 7 * pid, 10 + 3 * camera, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / f"p{pid}" / f"{camera}.jpg"), image)
            lines.append(f"p{pid}/{camera}.jpg,{pid}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    return tmp_path


def start(size=(WIDTH, HEIGHT), **resize):
    return [
        dict(type="LoadReIDImage"),
        dict(type="Resize", scale=size, interpolation="bicubic", **resize),
    ]


def training(size=(WIDTH, HEIGHT)):
    return [
        *start(size),
        dict(type="RandomHorizontalFlip", prob=0.5),
        dict(type="PadRandomCrop", padding=3),
        dict(type="RandomErasingBox", prob=0.5),
        dict(type="PackReIDInputs"),
    ]


def inference(size=(WIDTH, HEIGHT)):
    return [*start(size), dict(type="PackReIDInputs")]


def bytes_of(images, size=(WIDTH, HEIGHT)):
    """Budget that exactly so many images of a size need."""
    return images * record_of(TRANSFORMS.build(start(size)[1])).itemsize


def target(folder, cache=None, pipeline=None, **options):
    pipeline = training() if pipeline is None else pipeline
    return FolderReIDDataset(
        str(folder), pipeline=pipeline, labels="unlabeled", cache=cache, **options
    )


def remove_images(folder):
    for path in folder.glob("p*/*.jpg"):
        path.unlink()


def identity(items):
    return items


def flat(item):
    """An item as comparable values, also of pipelines that end before the packing."""
    return {
        key: value.tolist() if isinstance(value, (np.ndarray, torch.Tensor)) else value
        for key, value in {**item, **item.get("samples", {})}.items()
        if key not in ("rng", "samples")
    }


def assert_same(one, two):
    assert [flat(item) for item in one] == [flat(item) for item in two]


def everything(dataset, seed=0):
    return [dataset[SeededIndex(index, seed + index)] for index in range(len(dataset))]


@pytest.mark.parametrize("images", [0, 5, IMAGES])
def test_items_are_the_same_to_the_last_bit(folder, images):
    plain, cached = target(folder), target(folder, cache=bytes_of(images))
    for epoch in range(3):  # cold, warm, warm with other augmentation
        seed = 100 * (epoch // 2)
        assert_same(everything(cached, seed), everything(plain, seed))


@pytest.mark.parametrize("backend", ["cv2", "pillow"])
def test_transforms_see_the_same_keys_as_after_loading_and_resizing(folder, backend):
    steps = [
        dict(type="LoadReIDImage", imdecode_backend=backend),
        dict(type="Resize", scale=(WIDTH, HEIGHT), interpolation="bicubic", backend=backend),
    ]
    plain, cached = target(folder, pipeline=steps), target(folder, "1MB", pipeline=steps)
    for _ in range(2):
        assert_same(everything(cached), everything(plain))
    assert cached[0].keys() == plain[0].keys() and cached[0]["img"].flags.writeable


@pytest.mark.parametrize(
    "build",
    [
        lambda folder, **options: target(folder, **options),
        lambda folder, **options: CSVReIDDataset(
            str(folder), ann_file="list.csv", pipeline=inference(), **options
        ),
        lambda folder, **options: Market1501(str(folder), pipeline=inference(), **options),
    ],
    ids=["folder", "csv", "market"],
)
def test_every_kind_of_dataset_has_a_cache(folder, build):
    (folder / "bounding_box_train").mkdir()
    for pid in range(PEOPLE):
        for camera in range(CAMERAS):
            copied = folder / "bounding_box_train" / f"{pid + 1:04d}_c{camera + 1}s1_000151_01.jpg"
            copied.write_bytes((folder / f"p{pid}" / f"{camera}.jpg").read_bytes())
    plain, cached = build(folder), build(folder, cache="1MB")
    everything(cached)
    expected = everything(plain)
    for path in cached.paths:
        open(path, "wb").close()
    assert_same(everything(cached), expected)


def test_images_beyond_the_budget_are_decoded_as_usual(folder, caplog):
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    dataset = target(folder, cache=bytes_of(6) - 1)
    logger.removeHandler(caplog.handler)
    assert f"has room for 5 of {IMAGES} images of {HEIGHT}×{WIDTH}" in caplog.text
    [cached] = dataset._cache._starts
    assert cached.memory.numel() == bytes_of(5)
    everything(dataset)
    assert cached.places["filled"].all()
    remove_images(folder)
    for index in range(5):
        dataset[index]
    with pytest.raises(InputError, match="does not exist"):
        dataset[5]


@pytest.mark.parametrize(
    "method, workers, persistent",
    [
        ("fork", 2, False),
        ("fork", 2, True),
        ("spawn", 1, True),
        pytest.param("spawn", 2, False, marks=pytest.mark.slow),
    ],
)
def test_what_one_worker_decodes_all_processes_have(folder, method, workers, persistent):
    dataset = copy.deepcopy(target(folder, cache="1MB"))
    expected = [target(folder)[index] for index in range(IMAGES)]
    loader = DataLoader(
        dataset,
        batch_size=5,  # three batches for two workers
        num_workers=workers,
        persistent_workers=persistent,
        multiprocessing_context=method,
        collate_fn=identity,
    )
    assert_same([item for batch in loader for item in batch], expected)
    remove_images(folder)
    assert_same([item for batch in loader for item in batch], expected)
    assert_same([dataset[index] for index in range(IMAGES)], expected)


def test_training_and_extraction_decode_once_between_them(folder):
    dataset = target(folder, cache="1MB")
    expected = everything(with_pipeline(target(folder), inference()))
    everything(dataset)
    remove_images(folder)
    assert_same(everything(with_pipeline(dataset, inference())), expected)


def test_another_size_has_a_place_of_its_own_within_the_same_budget(folder):
    other = (WIDTH // 2, HEIGHT // 2)
    dataset = target(folder, cache=bytes_of(IMAGES) + bytes_of(2, other))
    for _ in range(2):
        view = with_pipeline(dataset, inference(other))
        assert_same(everything(view), everything(with_pipeline(target(folder), inference(other))))
        assert_same(everything(dataset), everything(target(folder)))
    assert [len(start.places) for start in dataset._cache._starts] == [IMAGES, 2]


def test_a_write_that_breaks_off_leaves_nothing_readable(folder, monkeypatch):
    dataset = target(folder, cache="1MB")
    [cached] = dataset._cache._starts
    torn = np.full((HEIGHT, WIDTH, 3), 77, np.uint8)
    with monkeypatch.context() as patch:
        patch.setattr(
            CachedImages, "_make", lambda *_: {"img": torn}
        )  # breaks off after the pixels
        for index in range(IMAGES):
            with pytest.raises(KeyError, match="scale_factor"):
                dataset[index]
    assert (cached.places["pixels"] == 77).all()
    assert_same(everything(dataset), everything(target(folder)))


def test_a_transform_that_writes_into_its_image_does_not_reach_the_cache(folder):
    def blacken(results):
        results["img"][:] = 0
        return results

    dataset = target(folder, "1MB", pipeline=[*start(), blacken, dict(type="PackReIDInputs")])
    for _ in range(2):
        assert not everything(dataset)[0]["inputs"].any()
    plain = with_pipeline(target(folder), inference())
    assert_same(everything(with_pipeline(dataset, inference())), everything(plain))


def test_joined_datasets_keep_their_caches_apart(folder):
    def joined(cache):
        shared = dict(type="FolderReIDDataset", data_root=str(folder), cache=cache)
        train = CrossDomainDataset(
            [shared, dict(shared, ids=dict(start=1))], shared, pipeline=training()
        )
        test = ReIDTestDataset(
            [dict(shared, ids=dict(stop=2)), dict(shared, name="again")], pipeline=inference()
        )
        return train, test

    for cached, plain in zip(joined("1MB"), joined(None)):
        for _ in range(2):
            assert_same(everything(cached), everything(plain))


@pytest.mark.parametrize(
    "steps",
    [
        [dict(type="LoadReIDImage"), dict(type="PackReIDInputs")],
        start(keep_ratio=True),
        [dict(type="LoadReIDImage"), dict(type="Resize", scale_factor=2.0)],
        [*start()[:1], dict(type="RandomHorizontalFlip"), *start()[1:]],
        [identity],
    ],
)
def test_a_pipeline_with_nothing_to_cache_is_refused(folder, steps):
    with pytest.raises(InputError, match="expected LoadReIDImage and a Resize to one size"):
        target(folder, cache="1MB", pipeline=steps)


def test_a_budget_that_is_no_size_is_refused(folder):
    with pytest.raises(InputError, match="found cache='plenty', expected"):
        target(folder, cache="plenty")


def test_a_lack_of_shared_memory_is_a_sentence_at_the_start(folder, monkeypatch):
    def refuse(*_):
        raise RuntimeError("No space left on device")

    monkeypatch.setattr("mmreid_uda.datasets.cache.CachedImages", refuse)
    with pytest.raises(InputError, match=r"No space left on device.*set a smaller cache"):
        target(folder, cache="1MB")
