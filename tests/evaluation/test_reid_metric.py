"""The metric gives one process's figures on any number of ranks, and explains what is missing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import Evaluator

from mmreid_uda.evaluation import ReIDMetric, evaluate_rank, expand_queries, rerank
from mmreid_uda.evaluation.functional import budget
from mmreid_uda.neighbors import center_cameras
from mmreid_uda.registry import METRICS
from mmreid_uda.structures import ReIDDataSample
from mmreid_uda.utils import InputError

SET_SIZES = {"market1501": 61, "msmt17": 40}
NUM_SAMPLES = sum(SET_SIZES.values())
META = {"set_names": list(SET_SIZES)}


def make_images() -> ReIDDataSample:
    """Two test sets of noisy identities."""
    rng = np.random.default_rng(0)
    pid = rng.integers(0, 8, NUM_SAMPLES)
    features = rng.normal(size=(8, 6))[pid] + rng.normal(size=(NUM_SAMPLES, 6))
    return ReIDDataSample(
        features=torch.from_numpy(features).float(),
        pid=torch.from_numpy(pid),
        camid=torch.from_numpy(rng.integers(0, 3, NUM_SAMPLES)),
        is_query=torch.from_numpy(rng.random(NUM_SAMPLES) < 0.3),
        set_id=torch.from_numpy(np.repeat([0, 1], list(SET_SIZES.values()))),
        sample_idx=torch.arange(NUM_SAMPLES),
    )


def make_metric(**options: Any) -> ReIDMetric:
    metric = METRICS.build({"type": "ReIDMetric", **options})
    metric.dataset_meta = META
    return metric


def feed(metric: ReIDMetric, images: ReIDDataSample, batch_size: int = 16) -> ReIDMetric:
    for start in range(0, len(images), batch_size):
        metric.process(None, [images[start : start + batch_size].to_dict()])
    return metric


def expected_metrics(images: ReIDDataSample, **options: Any) -> dict[str, float]:
    expected = {}
    for set_id, name in enumerate(SET_SIZES):
        own = images[images.set_id == set_id]
        query, gallery = own[own.is_query], own[~own.is_query]
        result = evaluate_rank(
            query.features,
            gallery.features,
            query.pid,
            gallery.pid,
            query.camid,
            gallery.camid,
            **options,
        )
        expected.update({f"{name}/{key}": value for key, value in result.summary().items()})
    return expected


def test_every_set_is_evaluated_by_itself() -> None:
    images = make_images()
    metrics = feed(make_metric(), images).evaluate(NUM_SAMPLES)
    assert metrics == expected_metrics(images)
    assert set(metrics) == {
        f"{name}/{key}" for name in SET_SIZES for key in ("mAP", "R1", "R5", "R10", "mINP")
    }
    assert 1 < metrics["market1501/mAP"] <= 100


def test_options_reach_the_evaluation() -> None:
    images = make_images()
    for options in ({"ap": "trapezoid"}, {"protocol": "cuhk03"}):
        metrics = feed(make_metric(**options), images).evaluate(NUM_SAMPLES)
        assert metrics == expected_metrics(images, **options)
        assert metrics != expected_metrics(images)


def test_reranked_figures_stand_beside_the_plain_ones() -> None:
    images = make_images()
    metrics = feed(make_metric(rerank={"k1": 5, "k2": 2}), images).evaluate(NUM_SAMPLES)
    plain = {key: value for key, value in metrics.items() if "rerank_" not in key}
    assert plain == expected_metrics(images)
    own = images[images.set_id == 0]
    query, gallery = own[own.is_query], own[~own.is_query]
    result = evaluate_rank(
        None,
        None,
        query.pid,
        gallery.pid,
        query.camid,
        gallery.camid,
        distances=rerank(query.features, gallery.features, k1=5, k2=2),
    )
    reranked = {f"market1501/rerank_{key}": value for key, value in result.summary().items()}
    assert reranked.items() <= metrics.items()
    assert reranked["market1501/rerank_mAP"] != plain["market1501/mAP"]
    assert "msmt17/rerank_R1" in feed(make_metric(rerank=True), images).evaluate(NUM_SAMPLES)


def test_expanded_queries_and_verification_stand_beside_the_plain_figures() -> None:
    images = make_images()
    metric = make_metric(
        query_expansion={"k": 3, "alpha": 1.0}, verification=True, max_memory="1GiB"
    )
    metrics = feed(metric, images).evaluate(NUM_SAMPLES)
    assert expected_metrics(images, verification=True).items() <= metrics.items()
    assert 50 < metrics["market1501/AUC"] < 100
    own = images[images.set_id == 1]
    query, gallery = own[own.is_query], own[~own.is_query]
    expanded = expand_queries(query.features, gallery.features, k=3, alpha=1.0)
    labels = query.pid, gallery.pid, query.camid, gallery.camid
    expected = evaluate_rank(*expanded, *labels, verification=True).summary()
    assert {f"msmt17/qe_{key}": value for key, value in expected.items()}.items() <= metrics.items()
    assert metrics["msmt17/qe_mAP"] != metrics["msmt17/mAP"]
    assert "msmt17/qe_R1" in feed(make_metric(query_expansion=True), images).evaluate(NUM_SAMPLES)


def test_figures_that_know_cameras_stand_beside_the_plain_ones() -> None:
    images = make_images()
    metric = make_metric(center_cameras=True, rerank={"cameras": True})
    metrics = feed(metric, images).evaluate(NUM_SAMPLES)
    assert expected_metrics(images).items() <= metrics.items()
    own = images[images.set_id == 0]
    query, gallery = own[own.is_query], own[~own.is_query]
    labels = query.pid, gallery.pid, query.camid, gallery.camid
    rows = torch.nn.functional.normalize(torch.cat([query.features, gallery.features]))
    rows = center_cameras(rows, torch.cat([query.camid, gallery.camid]))
    centered = evaluate_rank(rows[: len(query)], rows[len(query) :], *labels)
    cameras = dict(query_cameras=query.camid.numpy(), gallery_cameras=gallery.camid.numpy())
    distances = rerank(query.features, gallery.features, **cameras)
    reranked = evaluate_rank(None, None, *labels, distances=distances)
    for prefix, result in (("centered", centered), ("rerank", reranked)):
        expected = {f"market1501/{prefix}_{key}": one for key, one in result.summary().items()}
        assert expected.items() <= metrics.items()
        assert metrics[f"market1501/{prefix}_mAP"] != metrics["market1501/mAP"]


def test_images_of_unknown_camera_lose_the_mean_of_all_and_count_once() -> None:
    images = make_images()
    images.camid = 100 + torch.arange(NUM_SAMPLES)
    images.is_gallery = torch.rand(NUM_SAMPLES, generator=torch.manual_seed(0)) < 0.7
    images.is_gallery |= ~images.is_query
    own = images[images.set_id == 0]
    rows = torch.nn.functional.normalize(own.features)
    rows = center_cameras(rows, torch.full((len(own),), -1))
    query, gallery = own[own.is_query], own[own.is_gallery]
    labels = query.pid, gallery.pid, query.camid, gallery.camid
    expected = evaluate_rank(rows[own.is_query], rows[own.is_gallery], *labels).summary()
    metrics = feed(make_metric(center_cameras=True), images).evaluate(NUM_SAMPLES)
    assert {f"market1501/centered_{key}": value for key, value in expected.items()}.items() <= (
        metrics.items()
    )


def test_a_budget_too_small_names_the_set_and_the_key() -> None:
    with pytest.raises(InputError, match=r"test set 'market1501'.* set max_memory to more"):
        feed(make_metric(max_memory=100), make_images()).evaluate(NUM_SAMPLES)


def test_neither_order_nor_repeated_images_change_the_figures() -> None:
    images = make_images()
    order = torch.from_numpy(np.random.default_rng(1).permutation(NUM_SAMPLES))
    order = torch.cat([order, order[:7]])
    assert feed(make_metric(), images[order], batch_size=5).evaluate(
        NUM_SAMPLES
    ) == expected_metrics(images)


def test_works_inside_an_evaluator_and_twice() -> None:
    images = make_images()
    evaluator = Evaluator({"type": "mmreid_uda.ReIDMetric"})
    evaluator.dataset_meta = META
    for _ in range(2):
        evaluator.process([images[:50], images[50:]])
        assert evaluator.evaluate(NUM_SAMPLES) == expected_metrics(images)


def test_an_image_may_be_query_and_gallery() -> None:
    images = make_images()
    # Leave-one-out with a camera for each image: once given as single images with both roles, once as two images each.
    images.camid = images.sample_idx
    images.is_query[:] = True
    twice = {name: torch.cat([values] * 2) for name, values in images.to_dict().items()}
    twice["is_query"][NUM_SAMPLES:] = False
    twice["sample_idx"] = torch.arange(2 * NUM_SAMPLES)
    images.is_gallery = torch.ones(NUM_SAMPLES, dtype=torch.bool)
    metric = make_metric(rerank=dict(k1=5, k2=2), query_expansion=True)
    once = feed(metric, images).evaluate(NUM_SAMPLES)
    metric.dataset_meta = META
    assert once == feed(metric, ReIDDataSample(**twice)).evaluate(2 * NUM_SAMPLES)


def test_prefix_is_put_in_front() -> None:
    metrics = feed(make_metric(prefix="teacher"), make_images()).evaluate(NUM_SAMPLES)
    assert "teacher/msmt17/mAP" in metrics


def test_features_are_written_in_order(tmp_path: Path) -> None:
    images = make_images()
    path = tmp_path / "run" / "features.npz"
    feed(make_metric(dump_features=str(path)), images[torch.arange(NUM_SAMPLES).flip(0)]).evaluate(
        NUM_SAMPLES
    )
    with np.load(path) as saved:
        assert np.array_equal(saved["features"], images.features.numpy())
        assert np.array_equal(saved["is_query"], images.is_query.numpy())
        assert np.array_equal(saved["is_gallery"], ~images.is_query.numpy())
        assert np.array_equal(saved["camid"], images.camid.numpy())
        assert saved["set_names"].tolist() == list(SET_SIZES)


def test_missing_images_are_counted() -> None:
    metric = feed(make_metric(), make_images()[:90])
    with pytest.raises(
        InputError, match=r"90 different images .* the test sets have 101.*drop_last"
    ):
        metric.evaluate(NUM_SAMPLES)


def test_the_dataset_may_tell_how_many_images_there_are() -> None:
    metric = feed(make_metric(), make_images())
    metric.dataset_meta = {**META, "num_samples": NUM_SAMPLES + 1}
    with pytest.raises(InputError, match=r"101 different images .* the test sets have 102"):
        metric.evaluate(NUM_SAMPLES)


def test_a_set_without_any_match_is_named() -> None:
    images = make_images()
    images.pid[(images.set_id == 1) & images.is_query] += 100
    with pytest.raises(
        InputError, match=r"test set 'msmt17': none of \d+ queries .*0 shared identities"
    ):
        feed(make_metric(), images).evaluate(NUM_SAMPLES)


def test_wrong_use_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        make_metric(dump_features=str(tmp_path / "file" / "features.npz"))
    with pytest.raises(InputError, match="'market' or 'cuhk03'"):
        make_metric(protocol="cuhk")
    with pytest.raises(InputError, match=r"rerank\.k3=6 .* expected no such key, but `k1`|one of"):
        make_metric(rerank={"k1": 20, "k3": 6})
    with pytest.raises(
        InputError, match=r"query_expansion\.beta=3 .*`alpha`, `database_side`, `k`"
    ):
        make_metric(query_expansion={"beta": 3})
    with pytest.raises(InputError, match=r"ReIDMetric\.max_memory='much'"):
        make_metric(max_memory="much")
    with pytest.raises(InputError, match=r"expected a name in \.npz"):
        make_metric(dump_features=str(tmp_path))
    with pytest.raises(InputError, match=r"without pid, is_query.*ReIDTestDataset"):
        images = make_images()
        del images.pid, images.is_query
        feed(make_metric(), images)
    metric = make_metric()
    metric.dataset_meta = None  # type: ignore[assignment]
    with pytest.raises(InputError, match="names of the test sets"):
        feed(metric, make_images()).evaluate(NUM_SAMPLES)


ALL_STEPS: dict[str, Any] = dict(
    rerank=dict(k1=5, k2=2),
    query_expansion=dict(k=3, database_side=True),
    center_cameras=True,
    verification=True,
)


def evaluate_on_rank(rank: int, folder: str, num_images: int) -> dict[str, Any]:
    """A rank's share of the images as mmengine's sampler cuts it, padded to an equal length; in blocks of 4 queries."""
    budget._MOST_ROWS = 4
    images, outcome = make_images()[:num_images], {}
    share = images[torch.tensor(list(DefaultSampler(images, shuffle=False, seed=0)))]
    cases: dict[str, Any] = {
        # The gloo group of the metric's own, and the training group.
        "cpu": (dict(ALL_STEPS, collect_device="cpu"), share),
        "gpu": (dict(rerank=dict(k1=5, k2=2, cameras=True), collect_device="gpu"), share),
        "mapped": (dict(ALL_STEPS, feature_file=f"{folder}/features.npy"), share),
        # Everything on rank 1, nothing on rank 0.
        "lopsided": (dict(protocol="cuhk03"), images if rank else images[:0]),
        "lopsided, mapped": (
            dict(protocol="cuhk03", feature_file=f"{folder}/features.npy"),
            images if rank else images[:0],
        ),
        "timed": (dict(time_prior=dict(labels=write_labels(Path(folder, f"{rank}")))), share),
    }
    for name, (options, own) in cases.items():
        metric = feed(make_metric(**options), own, batch_size=7 + rank)
        metric.dataset_meta = known_times()
        try:
            outcome[name] = {
                key: value.hex() for key, value in metric.evaluate(NUM_SAMPLES).items()
            }
        except InputError as error:
            outcome[name] = str(error)
    return outcome


def known_times() -> dict[str, Any]:
    images, rng = make_images(), np.random.default_rng(1)
    return META | dict(cameras=images.camid.numpy(), times=rng.uniform(0, 50, NUM_SAMPLES))


def write_labels(folder: Path) -> str:
    """Pseudo-labels of a run, as a time prior learns from them."""
    (folder / "pseudo_labels").mkdir(parents=True)
    known = dict(known_times(), labels=make_images().pid.numpy())
    np.savez(
        folder / "pseudo_labels" / "epoch_001.npz",
        **{name: known[name] for name in ("labels", "cameras", "times")},
    )
    return str(folder)


@pytest.mark.slow
def test_two_ranks_equal_one_to_the_last_bit(
    run_ranks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of images is odd, so that the sampler repeats one."""
    assert NUM_SAMPLES % 2 == 1
    monkeypatch.setattr(budget, "_MOST_ROWS", 4)
    first, second = run_ranks(evaluate_on_rank, args=(str(tmp_path), NUM_SAMPLES))
    assert first == second
    for name, options in {
        "cpu": ALL_STEPS,
        "mapped": dict(ALL_STEPS, feature_file=str(tmp_path / "features.npy")),
        "gpu": dict(rerank=dict(k1=5, k2=2, cameras=True)),
        "lopsided": dict(protocol="cuhk03"),
        "timed": dict(time_prior=dict(labels=write_labels(tmp_path / "alone"))),
    }.items():
        metric = feed(make_metric(**options), make_images())
        metric.dataset_meta = known_times()
        expected = {key: value.hex() for key, value in metric.evaluate(NUM_SAMPLES).items()}
        assert first[name] == expected
        assert len(expected) > 5
    assert first["mapped"] == first["cpu"] and first["lopsided, mapped"] == first["lopsided"]
    assert not (tmp_path / "features.npy").exists()


def test_an_error_is_raised_on_every_rank(run_ranks: Any, tmp_path: Path) -> None:
    for outcome in run_ranks(evaluate_on_rank, args=(str(tmp_path), 90)):
        assert all("90 different images" in message for message in outcome.values())
