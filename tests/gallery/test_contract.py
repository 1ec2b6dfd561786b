"""What every back end does, against the file's filters and a slow loop over similarities."""

import math
import threading

import numpy as np
import pytest
from gallery_items import FILTERS, made
from hypothesis import HealthCheck, given, settings

from mmreid_uda.evaluation import TimePrior, joint_score
from mmreid_uda.gallery import Filter, GallerySettings, Items, Sightings, open_gallery
from mmreid_uda.neighbors import center_cameras
from mmreid_uda.utils import InputError

DIM = 8
URLS = {"file": "file:{}/g.npz", "embedded": "embedded:{}/g", "server": "qdrant+local:{}/g/c"}
PACKAGES = {"embedded": "qdrant_edge", "server": "qdrant_client"}


def url_of(kind, folder):
    """Where a gallery of a test lies."""
    if kind in PACKAGES:
        pytest.importorskip(PACKAGES[kind])
    return URLS[kind].format(folder)


@pytest.fixture(params=URLS)
def url(request, tmp_path):
    return url_of(request.param, tmp_path)


@pytest.fixture
def gallery(url):
    """An empty one."""
    with open_gallery(url, create=GallerySettings(fingerprint="f" * 64)) as gallery:
        yield gallery


@pytest.fixture(scope="module", params=URLS)
def filled(request, tmp_path_factory):
    """Forty items that nobody changes."""
    url = url_of(request.param, tmp_path_factory.mktemp("filled"))
    with open_gallery(url, create=GallerySettings()) as gallery:
        gallery.add(made(40))
        yield gallery


def everything(gallery, where=None, **options):
    parts = list(gallery.scan(where, **options))
    return Items.joined(parts) if parts else Items.of(np.empty((0, DIM)), [])


def assert_same(found, expected):
    """Both have the same items; the order is that of identifiers."""
    expected = expected.take(np.argsort(expected.ids))
    assert found.ids == expected.ids and found.paths == expected.paths
    assert found.fields == expected.fields
    for column in ("cameras", "times", "tracklets", "identities", "added"):
        np.testing.assert_array_equal(getattr(found, column), getattr(expected, column), column)
    if found.features is not None:
        np.testing.assert_array_equal(found.features, expected.features)


def slow_search(row, items, where=None):
    """Identifiers and similarities, best first, ties by identifier."""
    chosen = items if where is None else items.take(where.mask(items))
    pairs = [(-float(row @ one), name) for one, name in zip(chosen.features, chosen.ids)]
    return [(name, -minus) for minus, name in sorted(pairs)]


def test_items_come_back_as_they_were(gallery, url):
    items = made(40)
    assert gallery.add(items, "f" * 64) == 40 and gallery.dim == DIM and len(gallery) == 40
    assert_same(everything(gallery, batch=7), items)
    gallery.close()
    with open_gallery(url, read_only=True) as again:
        assert_same(everything(again), items)
        assert again.settings == GallerySettings(fingerprint="f" * 64, dim=DIM)
        assert everything(again, features=False).features is None
        with pytest.raises(InputError, match="opened to be read"):
            again.add(items)


def test_adding_again_changes_nothing_and_upserting_replaces(gallery):
    items = made(10)
    assert gallery.add(items.take(range(6))) == 6
    other = items.with_columns(identities=np.array(["new"] * 10))
    assert gallery.add(other) == 4
    assert (gallery.get(items.ids[:6]).identities == items.identities[:6]).all()
    gallery.upsert(other)
    assert len(gallery) == 10 and set(everything(gallery).identities) == {"new"}
    assert gallery.add(Items.of(None, [])) == 0


def test_an_empty_gallery_has_nothing(gallery):
    assert len(gallery) == 0 and gallery.values("camera") == {} and list(gallery.scan()) == []
    assert gallery.search(np.eye(2, DIM)) == [[], []] and gallery.delete(Filter()) == 0
    gallery.update([], identity="a")
    gallery.optimize()
    gallery.add(made(3))
    assert gallery.delete(Filter()) == 3 and gallery.search(np.eye(1, DIM)) == [[]]
    assert gallery.add(made(3)) == 3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(where=FILTERS)
def test_filters_are_those_of_the_mask(filled, where):
    items = made(40)
    expected = items.take(where.mask(items))
    assert_same(everything(filled, where), expected)
    assert filled.count(where) == len(expected)
    names, counts = np.unique(expected.tracklets, return_counts=True)
    assert filled.values("tracklet", where) == dict(zip(names.tolist(), counts.tolist()))
    [found] = filled.search(items.features[:1], 50, where)
    assert [one.id for one in found] == [
        one for one, _ in slow_search(items.features[0], items, where)
    ]


@pytest.mark.parametrize("topk", [1, 2, 3, 7, 40, 100])
def test_a_search_is_exact_and_ties_are_in_the_order_of_identifiers(filled, topk):
    items = made(40)
    results = filled.search(items.features[:5], topk)
    for row, found in zip(items.features, results):
        expected = slow_search(row, items)[:topk]
        assert [one.id for one in found] == [one for one, _ in expected]
        assert [one.similarity for one in found] == pytest.approx(
            [s for _, s in expected], abs=1e-6
        )
        for one in found:
            n = items.ids.index(one.id)
            assert (one.path, one.camera) == (items.paths[n], items.cameras[n])
            assert one.time == items.times[n] or math.isnan(items.times[n])
            assert (one.tracklet, one.identity) == (items.tracklets[n], items.identities[n])


def test_a_threshold_cuts(filled):
    row = made(40).features[0]
    [everything_] = filled.search(row[None], 40)
    [found] = filled.search(row[None], 40, threshold=0.2)
    kept = [one.id for one in everything_ if one.similarity >= 0.2]
    assert [one.id for one in found] == kept and 0 < len(found) < 40


@pytest.mark.parametrize("group_by", ["tracklet", "identity"])
@pytest.mark.parametrize("where", [None, Filter(not_cameras=["gate"])])
def test_groups_are_the_best_of_each(filled, group_by, where):
    items = made(40)
    texts = {"tracklet": items.tracklets, "identity": items.identities}[group_by]
    chosen = (where or Filter()).mask(items)
    for topk in (1, 4, 40):
        [found] = filled.search(items.features[3:4], topk, where, group_by=group_by)
        expected, seen = [], set()
        for one, _ in slow_search(items.features[3], items, where):
            group = texts[items.ids.index(one)]
            if not group or group not in seen:
                expected.append((one, (chosen & (texts == group)).sum() if group else 1))
            seen.add(group)
        assert [(one.id, one.group_size) for one in found] == expected[:topk]


def test_a_large_group_hides_no_other(gallery):
    items = made(60)
    tracklets = np.array(["crowd"] * 50 + ["", "", "a", "b", "b", "", "c", "d", "d", "e"])
    near = np.where(np.arange(60)[:, None] < 50, 1, 0) * np.eye(1, DIM) * 10
    items = Items.of(items.features + near, items.paths, tracklets=tracklets)
    gallery.add(items)
    [found] = gallery.search(np.eye(1, DIM), 9, group_by="tracklet")
    assert [one.tracklet for one in found].count("crowd") == 1 and found[0].group_size == 50
    assert sorted(one.tracklet for one in found[1:]) == ["", "", "", "a", "b", "c", "d", "e"]
    assert [one.similarity for one in found] == sorted(
        (one.similarity for one in found), reverse=True
    )
    [close] = gallery.search(np.eye(1, DIM), 9, group_by="tracklet", threshold=0.9)
    assert [one.tracklet for one in close] == ["crowd"]
    with pytest.raises(InputError, match="field"):
        gallery.values("fields")


def test_an_item_does_not_find_itself(filled):
    items = made(40)
    chosen = items.ids[4:6]
    for one, found in zip(chosen, filled.search_items(chosen, 40)):
        assert {match.id for match in found} == set(items.ids) - {one}
    [together] = filled.search_items(chosen, 40, together=True)
    rest = items.take([n for n in range(40) if n not in (4, 5)])
    mean = items.features[4:6].mean(0)
    expected = slow_search(mean / np.linalg.norm(mean), rest)
    assert [one.id for one in together] == [one for one, _ in expected]
    with pytest.raises(InputError, match="found no item"):
        filled.search_items([made(1, seed=5).ids[0]])


def test_centering_is_that_of_all_features(filled):
    items = made(40)
    _, cameras = np.unique(items.cameras, return_inverse=True)
    cameras[items.cameras == ""] = -1
    centered = center_cameras(items.features, cameras)
    n = int(np.flatnonzero(items.cameras == "hall")[0])
    seen = Sightings(np.array(["hall"]), np.array([math.nan]))
    [found] = filled.search(items.features[[n]], 40, center=True, sightings=seen)
    similarity = centered @ centered[n]
    assert [one.score for one in found] == pytest.approx(
        [similarity[items.ids.index(one.id)] for one in found], abs=1e-5
    )
    assert (np.diff([one.score for one in found]) <= 0).all()
    plain = items.features @ items.features[n]
    assert found[3].similarity == pytest.approx(plain[items.ids.index(found[3].id)], abs=1e-6)


def test_re_ranking_and_a_time_prior_rank_candidates_anew(filled):
    items = made(40)
    [first] = filled.search(items.features[:1], 5)
    [found] = filled.search(items.features[:1], 5, rerank=True, candidates=30)
    assert found[0].id == first[0].id and (np.diff([one.score for one in found]) <= 0).all()
    labels = np.arange(40) // 2
    prior = TimePrior(labels, np.tile(["gate", "hall"], 20), np.tile([0.0, 5.0], 20), 1.0)
    seen = Sightings(np.array(["gate"]), np.array([2.0]))
    [found] = filled.search(items.features[:1], 40, prior=prior, sightings=seen)
    probability = prior.probability(*seen, items.cameras, items.times)[0]
    scores = joint_score((items.features @ items.features[0]).astype(float), probability)
    assert [one.score for one in found] == pytest.approx(np.sort(scores)[::-1].tolist(), abs=1e-6)
    with pytest.raises(InputError, match="rerank and a time prior"):
        filled.search(items.features[:1], prior=prior, sightings=seen, rerank=True)
    with pytest.raises(InputError, match="queries without cameras"):
        filled.search(items.features[:1], prior=prior)


def test_one_identity_everywhere_and_free_fields(gallery):
    items = made(12)
    gallery.add(items)
    gallery.update(items.ids[2:5], identity="eve", fields={"note": "x", "tag": None})
    found = gallery.get(items.ids)
    assert found.identities.tolist() == [
        "eve" if 2 <= n < 5 else name for n, name in enumerate(items.identities.tolist())
    ]
    for n, values in enumerate(found.fields):
        old = dict(items.fields[n])
        if 2 <= n < 5:
            old.pop("tag", None)
            old["note"] = "x"
        assert values == old
    assert gallery.count(Filter(fields={"note": "x"}, identities=["eve"])) == 3
    np.testing.assert_array_equal(
        gallery.get(items.ids[3:4], features=True).features, items.features[3:4]
    )
    with pytest.raises(InputError, match=r"found no item .* and 1 others"):
        gallery.update(made(2, seed=9).ids, identity="x")


def test_deleting_by_filter_and_age(gallery):
    items = made(40)
    gallery.add(items)
    assert gallery.delete(Filter(added_before=10)) == 10
    assert gallery.delete(Filter(cameras=["gate"], added_since=20)) == sum(
        items.cameras[20:] == "gate"
    )
    kept = (items.added >= 10) & ~((items.cameras == "gate") & (items.added >= 20))
    assert_same(everything(gallery), items.take(kept))


def test_another_model_dimension_or_number_is_one_sentence(gallery, url):
    with pytest.raises(InputError, match="fingerprint ffffffffffff, the queries have aaaaaaaaaaaa"):
        gallery.add(made(2), "a" * 64)
    gallery.add(made(2))
    with pytest.raises(InputError, match=r"features to add of shape \(2, 5\), expected \(N, 8\)"):
        gallery.add(made(2, dim=5))
    with pytest.raises(InputError, match=r"queries of shape \(1, 5\)"):
        gallery.search(np.eye(1, 5))
    with pytest.raises(InputError, match="among the 1 features of the queries"):
        gallery.search(np.full((1, DIM), np.nan))
    with pytest.raises(InputError, match="as the dimension of a gallery"):
        gallery.change_settings(dim=9)
    with pytest.raises(InputError, match="cannot be compared"):
        gallery.change_settings(fingerprint="b" * 64)
    with pytest.raises(InputError, match="'tresh' as a setting"):
        gallery.change_settings(tresh=1)
    with pytest.raises(InputError, match="without features"):
        gallery.add(made(2, seed=1).with_features(None))
    gallery.close()
    with pytest.raises(InputError, match="of 8 dimensions"):
        open_gallery(url, dim=9)
    with pytest.raises(InputError, match="was made by a model"):
        open_gallery(url, create=GallerySettings(fingerprint="b" * 64))
    with open_gallery(url, create=GallerySettings(fingerprint="f" * 64), dim=DIM) as again:
        assert len(again) == 2


def test_texts_that_no_file_holds_and_numbers_beyond_all_times(gallery):
    items = made(6)
    gallery.add(items)
    for broken in ("\udcff", "\0"):
        with pytest.raises(InputError, match="among the paths"):
            Items.of(items.features[:1], [f"{broken}.jpg"])
        for wrong in (dict(cameras=[broken]), dict(not_tracklets=[broken])):
            with pytest.raises(InputError, match="can be written to a file"):
                Filter(**wrong)
    with pytest.raises(InputError, match="JSON cannot hold"):
        gallery.update(items.ids[:1], fields={"a": "\udcff"})
    with pytest.raises(InputError, match="among the fields"):
        Filter(fields={"a": "\udcff"})
    known = int((~np.isnan(items.times)).sum())
    for far in (1e12, 1e305, 1.7e308):
        assert gallery.count(Filter(since=-far)) == gallery.count(Filter(until=far)) == known
        assert gallery.count(Filter(since=far)) == gallery.count(Filter(until=-far)) == 0
        assert gallery.delete(Filter(added_before=-far)) == 0
    for topk in (7, 10**9, 2**62, 2**80):
        assert len(gallery.search(np.eye(1, DIM), topk=topk)[0]) == 6


def test_a_span_has_its_first_moment_and_not_its_last(gallery):
    """In microseconds, to the one; held against the mask as well, which is the meaning of a filter."""
    moments = [1.0, 1.000001, 1.000002, math.nan]
    items = Items.of(np.eye(4, DIM), list("abcd"), times=moments, added=[*moments[:3], 9.0])
    gallery.add(items)
    for condition, expected in (
        (dict(since=1.000001), "bc"),
        (dict(until=1.000001), "a"),
        (dict(since=1.000001, until=1.000002), "b"),
        (dict(since=1.000001, until=1.000001), ""),
        (dict(added_since=1.000001), "bcd"),
        (dict(added_before=1.000001), "a"),
    ):
        where = Filter(**condition)
        assert sorted(p for part in gallery.scan(where) for p in part.paths) == list(expected)
        assert [p for p, met in zip(items.paths, where.mask(items)) if met] == list(expected)


def test_a_threshold_is_a_similarity_that_is_enough(gallery):
    gallery.add(Items.of(np.eye(5, DIM), list("abcde")))
    for threshold, num in ((0.0, 5), (1.0, 1), (1.0001, 0), (-1.0, 5)):
        assert len(gallery.search(np.eye(1, DIM), threshold=threshold)[0]) == num


def test_of_many_equal_items_the_lowest_identifiers_are_found(gallery):
    items = Items.of(np.ones((40, DIM)), [str(n) for n in range(40)])
    gallery.add(items)
    [found] = gallery.search(np.ones((1, DIM)), topk=3)
    assert [one.id for one in found] == sorted(items.ids)[:3]


def test_a_search_is_exact_up_to_so_many_items(gallery, monkeypatch):
    asked, nearest = [], gallery._nearest
    monkeypatch.setattr(
        gallery, "_nearest", lambda *given: asked.append(given[3]) or nearest(*given)
    )
    gallery.change_settings(exact_up_to=3)
    for number in range(4):
        gallery.add(made(1, seed=number))
        gallery.search(np.eye(1, DIM))
    assert asked == [True, True, True, False]


def test_an_emptied_gallery_keeps_its_dimension(gallery):
    gallery.add(made(3))
    gallery.delete(Filter())
    with pytest.raises(InputError, match="as the dimension of a gallery"):
        gallery.change_settings(dim=5)
    with pytest.raises(InputError, match=r"expected \(N, 8\)"):
        gallery.add(made(3, dim=5))


def test_settings_are_kept(gallery, url):
    gallery.add(made(20))
    gallery.change_settings(retention_days=30, config="ise", exact_up_to=5)
    gallery.learn_means()
    kept = gallery.settings
    assert set(kept.means) == {"", "gate", "hall", 'yard "3"'}
    assert len(gallery.search(np.eye(1, DIM))[0]) == 10  # by the back end's index, if it has one
    gallery.close()
    with open_gallery(url) as again:
        assert again.settings == kept


def test_many_threads_add_search_and_delete_at_once(gallery):
    items, errors = made(64), []
    gallery.add(made(1, seed=3))

    def work(part):
        try:
            for n in range(part, 64, 4):
                gallery.add(items.take([n]))
                assert gallery.search(items.features[[n]], 1)[0][0].similarity > 0.999
                gallery.update([items.ids[n]], identity="seen")
                if n % 8 == 0:
                    assert gallery.delete(Filter(ids=[items.ids[n]])) == 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not errors and gallery.count(Filter(identities=["seen"])) == 56


def test_optimizing_keeps_all_and_what_came_meanwhile(gallery, url):
    items = made(60)
    gallery.add(items.take(range(40)))
    worker = threading.Thread(target=gallery.optimize)
    worker.start()
    gallery.add(items.take(range(40, 60)))
    gallery.update(items.ids[:5], identity="eve")
    gallery.delete(Filter(ids=items.ids[5:9]))
    worker.join()
    assert len(gallery) == 56
    gallery.upsert(items.take(range(50)))  # moves what the graph holds
    gallery.update(items.ids[:5], identity="eve")
    gallery.delete(Filter(ids=items.ids[5:9]))
    assert len(gallery) == 56 == gallery.count(Filter(added_since=0))
    gallery.close()
    with open_gallery(url) as again:
        found = everything(again)
        assert set(found.ids) == {*items.ids[:5], *items.ids[9:]}
        assert set(again.get(items.ids[:5]).identities) == {"eve"}


@pytest.mark.parametrize("address", ["", "embedded:", "file:", "http://host:6333/shop"])
def test_what_is_no_address_makes_no_folder(tmp_path, monkeypatch, address):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"as a gallery, expected a folder, a name in .npz"):
        open_gallery(address, create=GallerySettings())
    assert not list(tmp_path.iterdir())
