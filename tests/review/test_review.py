"""What a person says is obeyed by the next clustering, and by the one after it."""

from __future__ import annotations

import tempfile
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import closure, make_review, obeys

from mmreid_uda.datasets.links import append_links, read_links
from mmreid_uda.review import Review
from mmreid_uda.structures import Evidence
from mmreid_uda.utils import InputError


def act(review, rng):
    """A random act; what it says as (kind, same pairs, apart pairs), and the act."""
    labels = review.labels
    sizes = np.bincount(labels[labels >= 0])
    kind = rng.choice(["merge", "split", "split", "answer", "answer", "not_a_subject"])
    same, apart = set(), set()
    if kind == "merge" and len(sizes) > 1:
        chosen = rng.choice(len(sizes), 2, replace=False)
        images = np.flatnonzero(np.isin(labels, chosen)).tolist()
        same = {(a, b) for a in images for b in images}
        return "merge", same, apart, review.merge(chosen.tolist())
    if kind == "split" and (sizes > 1).any():
        label = int(rng.choice(np.flatnonzero(sizes > 1)))
        members = rng.permutation(np.flatnonzero(labels == label))
        cut = int(rng.integers(1, len(members)))
        one, other = members[:cut].tolist(), members[cut:].tolist()
        whole = str(rng.choice(["selected", "rest"]))
        kept = one if whole == "selected" else other
        same = {(a, b) for a in kept for b in kept}
        apart = {(a, b) for a in one for b in other} | {(b, a) for a in one for b in other}
        return "split", same, apart, review.split(label, one, whole=whole)
    first, second = map(int, rng.choice(len(review), 2, replace=False))
    if kind == "not_a_subject":
        return kind, same, apart, review.not_a_subject([first])
    said = bool(rng.integers(2))
    pairs = {(first, second), (second, first)}
    same, apart = (pairs, apart) if said else (same, pairs)
    return "answer", same, apart, review.answer(first, second, said)


@pytest.mark.parametrize("clusterer", ["dbscan", "linkage", "agglomerative"])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), num_acts=st.integers(1, 6), tracklets=st.booleans())
def test_every_clustering_obeys_all_that_was_said(clusterer, seed, num_acts, tracklets):
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        review = make_review(Path(folder), clusterer, tracklets, seed=seed)
        if tracklets:
            review.clustering.clustering.cut_tracklets = None
        for _ in range(num_acts):
            before, slept = closure(review), review.evidence.ignored.copy()
            kind, same, apart, written = act(review, rng)
            after, ignored = closure(review), review.evidence.ignored
            # The newest word holds, and wakes those it speaks of.
            assert all(after[pair] == 1 for pair in same) and all(after[p] == -1 for p in apart)
            # What was said before holds, too, unless this act says otherwise, and says that it does.
            awake = ~(slept | ignored)
            lost = (before != 0) & (after != before) & awake[:, None] & awake[None, :]
            contradicted = [row for row in written.contradicted if row.path_b is not None]
            if not contradicted:
                assert not lost.any()
            elif kind == "split":
                spoken = np.zeros_like(lost)
                for pair in same | apart:
                    spoken[pair] = True
                # Strangers of the selection may lose those who are now one with it: nobody is both.
                told = np.flatnonzero(spoken.any(0))
                outside = np.ones(len(lost), bool)
                outside[told] = False
                touched = (before[told] != 0).any(0)
                assert not lost[np.ix_(outside & ~touched, outside & ~touched)].any()
            # As many rows as images concerned, times a constant.
            concerned = {image for pair in same | apart for image in pair}
            concerned |= set(np.flatnonzero(ignored & ~slept).tolist())
            groups = (before[sorted(concerned)] != 0).any(0).sum()
            assert len(written.rows) <= 4 * (len(concerned) + groups) + 4
            review.recluster()
            obeys(review.labels, after, ignored, clusterer == "agglomerative")
        acts = review.acts()
        assert len(acts) == num_acts and not any(one.undone for one in acts)
        assert len(make_review(Path(folder), clusterer, tracklets, seed=seed).acts()) == num_acts


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), num_acts=st.integers(1, 6))
def test_undoing_the_last_act_restores_what_was_before(seed, num_acts):
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        review = make_review(Path(folder), seed=seed)
        states = [known(review)]
        for _ in range(num_acts):
            act(review, rng)
            review.recluster()
            states.append(known(review))
        for one in reversed(review.acts()):
            states.pop()
            review.undo(one.id)
            assert known(review) == states[-1]
        assert len(review.links) == 0 and not review.evidence.ignored.any()
        assert sum(one.undone for one in review.acts()) == num_acts


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_undoing_any_act_leaves_no_contradiction_and_what_others_said(seed):
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        review = make_review(Path(folder), seed=seed)
        for _ in range(5):
            act(review, rng)
            review.recluster()
        while acts := [one for one in review.acts() if one.kind != "undo" and not one.undone]:
            gone = acts.pop(int(rng.integers(len(acts))))
            before = known(review)
            review.undo(gone.id)
            after = known(review)
            closure(review)  # refuses contradictions
            own = {frozenset((r.path_a, r.path_b)) for r in gone.rows}
            assert {one for one in before ^ after if one[0] not in own} == set()
            obeys(review.recluster(), closure(review), review.evidence.ignored)


def known(review):
    """What holds, whatever the order of the rows: {(pair, kind)}."""
    links, name = review.links, review._history._name
    ends = zip(links.first.tolist(), links.second.tolist(), links.must.tolist())
    found = {(frozenset((name(a), name(b))), must) for a, b, must in ends}
    return found | {
        (frozenset((name(a), None)), "ignored")
        for a in np.flatnonzero(review.evidence.ignored).tolist()
    }


def test_two_images_apart_do_not_keep_two_halves_apart(tmp_path):
    review = make_review(tmp_path, noise=0.1, num=40, groups=2)
    label = int(np.bincount(review.labels[review.labels >= 0]).argmax())
    members = review.members(label)[0]
    half = members[: len(members) // 2].tolist()
    # What the naive act would write: the rest of both halves stays in one cluster.
    append_links(
        review.links_path,
        [dict(path_a=f"crops/{half[0]:03d}.jpg", path_b=f"crops/{members[-1]:03d}.jpg", kind="cannot")],
    )  # fmt: skip
    labels = review.recluster(keep=False)
    assert set(labels[half]) & set(labels[np.setdiff1d(members, half)]) != {-1}
    review.split(label, half)
    labels = review.recluster(keep=False)
    assert len(set(labels[half])) == 1 and labels[half[0]] >= 0
    assert labels[half[0]] not in labels[np.setdiff1d(members, half)]


def test_rows_say_what_was_said_by_whom_and_what_follows(tmp_path):
    review = make_review(tmp_path, noise=0.1)
    first, second = 0, 1
    members = [review.members(label)[0] for label in (first, second)]
    merged = review.merge([first, second], author="Ann")
    rows = read_links(str(review.links_path))
    assert [row.kind for row in rows] == ["must"] * (sum(map(len, members)) - 1)
    assert {row.author for row in rows} == {"Ann"} and {row.source for row in rows} == {"human"}
    assert {row.act for row in rows} == {f"merge/{merged.id}"} and rows[0].time.endswith("Z")
    assert rows[0].path_a == f"crops/{members[0][0]:03d}.jpg"
    assert review.acts() == [merged] and review.clusters().violated.sum() > 0
    labels = review.recluster()
    [label] = set(labels[np.concatenate(members)])
    # One image leaves the middle of the group: what held the others together is carried on.
    middle = int(members[0][0])
    split = review.split(label, [middle])
    assert {row.kind for row in split.contradicted} == {"revoke"}
    carried = [row for row in split.rows if row.source == "other"]
    assert carried and {(row.kind, row.priority) for row in carried} == {("must", 2)}
    labels = review.recluster()
    rest = np.setdiff1d(np.concatenate(members), [middle])
    assert len(set(labels[rest])) == 1 and labels[middle] != labels[rest[0]]
    # An image that shows nobody is no bridge either, and a word about it wakes it.
    gone = review.not_a_subject([int(rest[0])], author="Bob")
    labels = review.recluster()
    assert labels[rest[0]] == -1 and len(set(labels[rest[1:]])) == 1
    assert review.health()["ignored"] == 1
    review.answer(int(rest[0]), middle, same=True)
    labels = review.recluster()
    assert labels[rest[0]] == labels[middle] != labels[rest[1]]
    with pytest.raises(InputError, match="expected an act that holds"):
        review.undo("0" * 12)
    review.undo(gone.id)
    with pytest.raises(InputError, match="found undone already of the id"):
        review.undo(gone.id)
    assert [one.kind for one in review.acts()] == ["merge", "split", "not_subject", "same", "undo"]


def test_an_undo_brings_back_what_others_had_said_before(tmp_path):
    review = make_review(tmp_path)
    names = ["crops/000.jpg", "crops/001.jpg"]
    append_links(
        review.links_path, [dict(path_a=names[0], path_b=names[1], kind="cannot", priority=5)]
    )
    said = review.answer(0, 1, same=True)
    assert review.links.must.tolist() == [True]
    review.undo(said.id)
    links = review.links
    assert links.must.tolist() == [False] and links.priority.tolist() == [5]


def test_writers_at_the_same_time_lose_nothing(tmp_path):
    reviews = [make_review(tmp_path) for _ in range(2)]

    def say(review, start):
        for place in range(start, 20, 4):
            review.answer(place, place + 1, same=bool(place % 3))

    threads = [threading.Thread(target=say, args=(reviews[n % 2], n)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reviews[0].acts()) == 20 and reviews[0].acts() == reviews[1].acts()
    closure(reviews[0])


@pytest.mark.parametrize(
    "say, words",
    [
        (lambda review: review.merge([0]), "found the clusters \\[0\\] to be merged"),
        (lambda review: review.merge([0, 99]), "found no cluster 99 among"),
        (lambda review: review.merge([0, -1]), "no images without a cluster"),
        (lambda review: review.split(0, []), "found 0 of the .* selected"),
        (lambda review: review.split(0, review.members(0)[0]), "expected some of its images and n"),
        (lambda review: review.split(0, review.members(1)[0][:1]), "and 1 of others"),
        (lambda review: review.split(0, review.members(0)[0][:1], whole="both"), "'selected' or"),
        (lambda review: review.answer(3, 3, True), "found image 3 twice"),
        (lambda review: review.answer(3, 300, True), "expected positions of 0 to 29"),
        (lambda review: review.not_a_subject([]), "found no image that shows no subject"),
    ],
)
def test_what_cannot_be_said_is_told(tmp_path, say, words):
    review = make_review(tmp_path, noise=0.1)
    with pytest.raises(InputError, match=words):
        say(review)
    assert not review.links_path.exists()


@pytest.mark.parametrize(
    "name",
    ["qu\"o'te,;\t|.jpg", "new\nline.jpg", "a\u0308.jpg", "#x.jpg", "\u202e.jpg", "=1+1.jpg"],
)
def test_an_image_of_any_name_can_be_spoken_of(tmp_path, name):
    review = named(tmp_path, name)
    act = review.answer(0, 1, True, '=cmd(),"x')
    assert len(review.links) == 1 and review.acts()[0].author == '=cmd(),"x'
    review.undo(act.id)
    review.not_a_subject([1])
    assert len(review.links) == 0 and review.evidence.ignored.tolist() == [False, True, False]


@pytest.mark.parametrize("name", [" a.jpg", "a.jpg ", "7.0", "nan", "a\rb.jpg", "\udcff.jpg"])
def test_of_an_image_that_would_not_be_found_again_nothing_is_written(tmp_path, name):
    review = named(tmp_path, name)
    for say in (lambda: review.answer(0, 1, True), lambda: review.not_a_subject([1])):
        with pytest.raises(InputError, match="rename"):
            say()
    review.answer(0, 2, False)
    assert len(review.links) == 1


def named(folder, name):
    """Three images, of which the second has a name."""
    paths = [str(folder / one) for one in ("first.jpg", name, "third.jpg")]
    evidence = Evidence(np.full(3, -1))
    links = folder / "links.csv"
    return Review(np.eye(3, dtype=np.float32), paths, np.zeros(3), evidence, links, folder)


def test_who_is_spoken_of_is_a_subject_again(tmp_path):
    review = make_review(tmp_path)
    review.not_a_subject([0, 1, 2])
    review.answer(0, 5, same=True)
    review.answer(1, 6, same=False)
    assert np.flatnonzero(review.evidence.ignored).tolist() == [2]
    meaning = closure(review)
    assert meaning[0, 5] == 1 and meaning[1, 6] == -1


def test_what_an_undo_brings_back_gives_way_to_what_was_said_since(tmp_path):
    review = make_review(tmp_path)
    review.answer(0, 1, same=False)
    second = review.answer(0, 1, same=True)
    for other in (0, 1):
        review.answer(other, 2, same=True)
    assert (closure(review)[:3, :3] == 1).all()
    review.undo(second.id)
    assert (closure(review)[:3, :3] == 1).all() and len(review.links) == 2


@pytest.mark.parametrize("leaves", [True, False])
def test_what_was_said_of_a_group_holds_for_its_parts(tmp_path, leaves):
    review = make_review(tmp_path)
    for first, second, same in ((0, 1, True), (1, 2, True), (2, 3, False)):
        review.answer(first, second, same)
    assert (closure(review)[:3, 3] == -1).all()
    if leaves:
        review.not_a_subject([2])
    else:
        review.answer(1, 2, same=False)
    meaning = closure(review)
    assert meaning[0, 1] == 1 and (meaning[:2, 3] == -1).all()
    assert leaves or meaning[2, 3] == -1


@pytest.mark.parametrize("same", [True, False])
def test_answers_that_changed_labels_are_counted_by_kind(tmp_path, same):
    """Two clusters that are joined if they are the same, one that comes apart if it differs."""
    review = make_review(tmp_path, num=60, groups=8)
    questions = review.questions(12)
    assert {one.cell[0] for one in questions} == {0, 1}
    for one in questions:
        review.answer(one.second, one.first, same)
    asked = Counter(one.cell for one in questions)
    changed = {cell: num if (cell[0] == 0) == same else 0 for cell, num in asked.items()}
    assert review._past() == {cell: (num, changed[cell]) for cell, num in asked.items()}
