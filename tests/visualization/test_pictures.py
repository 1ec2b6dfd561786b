"""Drawing functions: what is where on a picture, against slow recomputations."""

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from mmreid_uda.clustering import SweepResult, sweep_dbscan
from mmreid_uda.models.encoders import ReIDEncoder
from mmreid_uda.utils import InputError, make_rng
from mmreid_uda.visualization import (
    PAIRS,
    activation_energy,
    camera_histograms,
    cluster_kinds,
    draw_activation_maps,
    draw_camera_distances,
    draw_cluster_collage,
    draw_cluster_sweep,
    draw_embedding,
    figure_pixels,
    in_largest,
    project,
    rank_rows,
    write_picture,
)
from mmreid_uda.visualization.tiles import BLUE, GRAY, GREEN, ORANGE, RED

# Clusters 0: whole; 1 and 2: halves of identity 5, with an outlier; 3: two identities. The last image is unknown.
LABELS = np.array([0, 0, 1, 1, 1, 2, 2, -1, 3, 3, 3, 3])
TRUTH = np.array([4, 4, 5, 5, 5, 5, 5, 5, 6, 6, 7, -1])


@pytest.fixture
def images(tmp_path):
    paths = [str(tmp_path / f"{number}.png") for number in range(len(LABELS))]
    for path in paths:
        cv2.imwrite(path, np.full((20, 10, 3), 200, np.uint8))
    return paths


def unit(rng, *shape):
    rows = rng.standard_normal(shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# ---- clusters


def test_clusters_are_pure_split_or_merged():
    kinds = cluster_kinds(LABELS, TRUTH)
    assert (kinds.pure, kinds.split, kinds.merged) == ([0], [5], [3])
    # A part of a merged cluster does not make its identity split, and its other cluster is not whole.
    kinds = cluster_kinds(np.array([0, 0, 1]), np.array([8, 9, 8]))
    assert (kinds.pure, kinds.split, kinds.merged) == ([], [], [0])


def test_frames_of_a_collage_tell_right_pieces_outliers_and_wrong(images):
    picture = draw_cluster_collage(images, LABELS, TRUTH, size=(32, 16))
    tile, gap, caption, height = 16 + 8, 6, 22, 32 + 8
    pitch = caption + height + gap

    def frame(row, column, groups_before=0):
        return tuple(
            picture[row * pitch + caption + 20, column * (tile + gap) + groups_before * gap + 1]
        )

    assert [frame(0, 0), frame(0, 1)] == [GREEN, GREEN]
    assert [frame(1, column) for column in range(3)] == [BLUE] * 3
    assert [frame(1, column, 1) for column in (3, 4)] == [ORANGE] * 2
    assert frame(1, 5, 2) == GRAY
    assert [frame(2, 0), frame(2, 1), frame(2, 2, 1)] == [GREEN, GREEN, RED]


def test_a_full_row_still_shows_the_smaller_piece(images):
    picture = draw_cluster_collage(images, LABELS, TRUTH, per_row=2, size=(32, 16))
    assert (picture == ORANGE).all(2).any() and (picture == RED).all(2).any()


def test_nothing_to_compare_is_said():
    with pytest.raises(InputError, match="found 0 of 2 images in clusters"):
        draw_cluster_collage(["a", "b"], np.array([-1, -1]), np.array([0, 1]))


# ---- embeddings


def test_supports_are_hollow_and_outliers_crosses():
    points = np.arange(12.0).reshape(6, 2)
    groups = np.array([0, 0, 3, 3, 9, -1])
    figure = draw_embedding(points, groups, points[:4] + 0.1, groups[:4])
    dots, rings, crosses = figure.axes[0].collections
    assert [len(part.get_offsets()) for part in (dots, rings, crosses)] == [5, 4, 1]
    assert len(rings.get_facecolors()) == 0
    np.testing.assert_array_equal(rings.get_edgecolors(), dots.get_facecolors()[:4])
    assert len(np.unique(dots.get_facecolors(), axis=0)) == 3


def test_a_layout_keeps_groups_together_and_repeats_itself():
    rng = np.random.default_rng(0)
    features = np.repeat(np.eye(2, 8, dtype=np.float32), 15, axis=0) + 0.05 * unit(rng, 30, 8)
    points = project(features, seed=3)
    near = np.linalg.norm(points[:15] - points[:15].mean(0), axis=1).max()
    assert np.linalg.norm(points[15:] - points[:15].mean(0), axis=1).min() > near
    np.testing.assert_array_equal(points, project(features, seed=3))


@pytest.mark.parametrize("num", [1, 2, 3, 4, 5, 40])
@pytest.mark.parametrize("kind", ["different", "equal", "two kinds", "almost equal", "on a line"])
def test_few_or_equal_features_are_laid_out(num, kind):
    rng = np.random.default_rng(0)
    features = {
        "different": unit(rng, num, 8),
        "equal": np.ones((num, 8), np.float32),
        "two kinds": np.repeat(np.eye(2, 8, dtype=np.float32), num, axis=0)[num // 2 :][:num],
        "almost equal": np.ones((num, 8), np.float32) + 1e-7 * unit(rng, num, 8),
        "on a line": rng.normal(size=(num, 1)).astype(np.float32),
    }[kind]
    points = project(features)
    assert points.shape == (num, 2) and np.isfinite(points).all()
    assert figure_pixels(draw_embedding(points, np.full(num, -1))).any()


def test_pictures_without_anything_on_them_are_a_sentence():
    with pytest.raises(InputError, match="found 0 images to draw"):
        draw_activation_maps([], np.zeros((0, 2, 2), np.float32))
    histograms = camera_histograms(np.eye(3, dtype=np.float32), np.full(3, -1), np.zeros(3, int))
    with pytest.raises(InputError, match="found no pair of images"):
        draw_camera_distances(histograms)
    with pytest.raises(InputError, match="found bins=100000000"):
        camera_histograms(np.eye(3), np.zeros(3, int), np.zeros(3, int), bins=10**8)
    one_camera = camera_histograms(np.eye(2, dtype=np.float32), np.zeros(2, int), np.zeros(2, int))
    assert figure_pixels(draw_camera_distances(one_camera)).any()


def test_a_sweep_of_images_that_are_all_alike_recommends_nothing():
    results = list(sweep_dbscan(np.ones((9, 4), np.float32), [0.4, 0.6]))
    assert [result.metrics["clusters"] for result in results] == [1, 1]
    assert not any("rho_eps" in result.metrics for result in results)
    assert figure_pixels(draw_cluster_sweep(results)).any()
    for wrong, named in (
        (dict(rho=0.0), "rho=0.0 "),
        (dict(k1=[]), r"k1=\[\] .* at least 1 entries"),
        (dict(min_samples=()), r"min_samples=\(\) .* at least 1 entries"),
    ):
        with pytest.raises(InputError, match=named):
            list(sweep_dbscan(np.eye(9), [0.5], **wrong))


def test_the_largest_groups_are_shown():
    groups = np.array([-1, -1, -1, 4, 4, 2, 2, 7])
    assert in_largest(groups, 1).tolist() == [False] * 5 + [True] * 2 + [False]
    assert in_largest(groups, 2).sum() == 4


# ---- activation maps


def test_energy_is_the_sum_of_squares_of_the_last_map_scaled_per_image():
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 5, 3, stride=2)
    encoder = nn.Sequential(conv, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    inputs = torch.randn(2, 3, 9, 7)
    energy = activation_energy(encoder, inputs)
    maps = conv(inputs).detach().numpy()
    for image, out in zip(maps, energy):
        slow = np.zeros((4, 3))
        for channel in image:
            slow += channel**2
        np.testing.assert_allclose(out, (slow - slow.min()) / (slow.max() - slow.min()), atol=1e-5)
    assert not encoder[0]._forward_hooks
    with pytest.raises(InputError, match="found no map"):
        activation_energy(nn.Flatten(), inputs)


def test_a_hot_place_is_red_and_a_cold_one_blue():
    heat = np.zeros((1, 4, 2), np.float32)
    heat[0, 0] = 1
    picture = draw_activation_maps([np.full((20, 10, 3), 128, np.uint8)], heat, (64, 32))
    overlay = picture[4:68, 40 + 6 + 4 : 40 + 6 + 36]  # behind the plain crop and a gap
    assert overlay[2, 16].argmax() == 2 and overlay[60, 16].argmax() == 0


# ---- distances


def test_every_pair_is_counted_once_in_its_kind_whatever_the_blocks():
    rng = np.random.default_rng(1)
    features, pids, camids = unit(rng, 23, 6), rng.integers(-1, 4, 23), rng.integers(-1, 3, 23)
    known = (pids >= 0) & (camids >= 0)
    histograms = camera_histograms(features, pids, camids, bins=10)
    slow = np.zeros((4, 10), np.int64)
    for i in range(23):
        for j in range(i):
            if known[i] and known[j]:
                kind = 2 * (camids[i] != camids[j]) + (pids[i] != pids[j])
                slow[kind, int((1 - features[i] @ features[j]) * 5)] += 1
    np.testing.assert_array_equal(histograms, slow)
    assert histograms.sum() == known.sum() * (known.sum() - 1) // 2
    blocks = camera_histograms(features, pids, camids, bins=10, block_size=4)
    np.testing.assert_array_equal(blocks, histograms)


def test_the_legend_counts_the_pairs():
    histograms = np.zeros((4, 4), np.int64)
    histograms[0, 1], histograms[3] = 5, (0, 0, 3, 1)
    figure = draw_camera_distances(histograms)
    texts = [t.get_text() for axes in figure.axes for t in axes.get_legend().get_texts()]
    assert texts == ["same person: 5 pairs, mean 0.75", "two people: 4 pairs, mean 1.38"]
    assert len(PAIRS) == 4
    with pytest.raises(InputError, match="no pair"):
        draw_camera_distances(np.zeros((4, 4), np.int64))


# ---- sweeps, rank lists, files


def test_a_sweep_has_a_line_per_setting_and_marks_the_recommended_radius():
    results = [
        SweepResult(
            dict(eps=eps, k1=k1), dict(clusters=eps * k1, outlier_ratio=0.5, rho_eps=0.01 * k1)
        )
        for k1 in (10, 20)
        for eps in (0.4, 0.2)
    ]
    figure = draw_cluster_sweep(results, num_identities=7)
    clusters, outliers = figure.axes
    first, mark, second, other_mark, truth = clusters.lines
    np.testing.assert_allclose(first.get_xydata(), [(0.2, 2), (0.4, 4)])
    np.testing.assert_allclose(second.get_xydata(), [(0.2, 4), (0.4, 8)])
    assert mark.get_xdata()[0] == pytest.approx(0.1) and mark.get_color() == first.get_color()
    assert other_mark.get_xdata()[0] == pytest.approx(0.2)
    assert truth.get_ydata()[0] == 7 and len(outliers.lines) == 4


def test_rank_rows_follow_the_rules_of_the_evaluation():
    features = np.array([[1, 0], [1, 0], [0.9, 0.1], [0.8, 0.2], [0, 1]], np.float32)
    pids, camids = np.array([3, 3, -1, 3, 5]), np.array([0, 0, 1, 1, 0])
    is_gallery = np.ones(5, bool)  # the query too, as where all images are both
    rows = rank_rows(features, pids, camids, is_gallery, list("abcde"), [0], topk=3)
    assert rows == [("a", [("d", "3", True), ("e", "5", False)])]  # b: same camera, c: junk
    named = rank_rows(
        features, pids, camids, is_gallery, list("abcde"), [0], 1, np.array(list("vwxyz"))
    )
    assert named == [("a", [("d", "y", True)])]


def test_images_of_unknown_cameras_are_no_images_of_one_camera():
    features = np.array([[1, 0], [1, 0], [0.9, 0.1]], np.float32)
    rows = rank_rows(features, np.zeros(3, int), np.full(3, -1), np.ones(3, bool), "abc", [0])
    assert [one.path for one in rows[0][1]] == ["b", "c"]


def test_a_kind_of_file_that_cannot_be_written_is_named(tmp_path):
    picture = np.zeros((4, 4, 3), np.uint8)
    write_picture(tmp_path / "new" / "a.png", picture)
    assert cv2.imread(str(tmp_path / "new" / "a.png")).shape == (4, 4, 3)
    with pytest.raises(InputError, match=r"found '\.docx'"):
        write_picture(tmp_path / "a.docx", picture)


@pytest.mark.parametrize(
    "options", [{}, dict(output="mean"), dict(part_tokens=3), dict(output="map")]
)
@torch.no_grad()
def test_attention_is_rolled_out_over_the_blocks_of_a_transformer(options):
    torch.manual_seed(0)
    backbone = dict(
        type="ReIDViT", img_size=(64, 32), depth=2, embed_dim=24, num_heads=2, **options
    )
    encoder = ReIDEncoder(backbone).eval()
    for parameter in encoder.parameters():
        parameter.data = 0.3 * torch.randn_like(parameter)
    inputs = torch.randn(2, 3, 64, 32)
    energy = activation_energy(encoder, inputs)
    assert energy.shape == (2, 4, 2)
    assert not any(part._forward_hooks for part in encoder.modules())
    blocks = encoder.backbone.net.blocks
    assert all(block.attn.fused_attn for block in blocks)
    tokens = encoder.backbone.embed(inputs)
    first = tokens.shape[1] - 8
    rollout = np.tile(np.eye(first + 8), (2, 1, 1))
    for block in blocks:
        q, k, _ = block.attn.qkv(block.norm1(tokens)).split(24, dim=2)
        attention = torch.zeros(2, first + 8, first + 8)
        for head in (slice(12), slice(12, 24)):
            scores = q[:, :, head] @ k[:, :, head].transpose(1, 2) / np.sqrt(12)
            attention += scores.softmax(2) / 2
        rollout = (attention.numpy() + np.eye(first + 8)) / 2 @ rollout
        tokens = block(tokens)
    rows = {"mean": range(first, first + 8), "parts-cat": range(4)}.get(
        encoder.backbone.output, [0]
    )
    expected = np.mean([rollout[:, row, first:] for row in rows], axis=0)
    if encoder.backbone.output == "map":
        expected = encoder.backbone(inputs).square().sum(1).flatten(1).numpy()
    low, high = expected.min(1, keepdims=True), expected.max(1, keepdims=True)
    np.testing.assert_allclose(energy.reshape(2, 8), (expected - low) / (high - low), atol=1e-5)


def test_a_network_of_tokens_without_attention_is_told():
    backbone = dict(type="TimmBackbone", name="vit_tiny_patch16_224", img_size=(64, 32), depth=0)
    with pytest.raises(InputError, match="found no attention of 9 tokens"):
        activation_energy(ReIDEncoder(backbone).eval(), torch.zeros(1, 3, 64, 32))


def test_many_features_are_laid_out_between_landmarks():
    rng = np.random.default_rng(0)
    people = np.arange(400) % 8
    rows = np.eye(8, 16)[people] + 0.05 * rng.standard_normal((400, 16))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    points = project(rows, seed=3, landmarks=80)
    assert points.shape == (400, 2) and points.dtype == np.float32
    assert np.array_equal(points, project(rows, seed=3, landmarks=80))
    assert not np.array_equal(points, project(rows, seed=4, landmarks=80))
    marks = np.sort(make_rng(3, "landmarks").choice(400, 80, replace=False))
    assert np.array_equal(points[marks], project(rows[marks], seed=3))
    # Everybody is among their own: each stands nearest to the middle of their person's points.
    middles = np.stack([points[people == person].mean(0) for person in range(8)])
    nearest = np.linalg.norm(points[:, None] - middles[None], axis=2).argmin(1)
    assert (nearest == people).mean() > 0.99
    assert np.array_equal(project(rows[:50], landmarks=80), project(rows[:50]))
