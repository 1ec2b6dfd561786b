"""Items that go: by age, and from the disk."""

import time

import numpy as np
import pytest
from gallery_items import made

from mmreid_uda.gallery import (
    FileGallery,
    Filter,
    GallerySettings,
    Items,
    expire,
    forget,
    open_gallery,
)
from mmreid_uda.utils import InputError


def holds(folder, text, row):
    """Whether any file below a folder holds a text or a vector, as numbers in memory or in the log."""
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        if text.encode() in content or row[1:5].tobytes() in content:
            return True
    return False


def test_nothing_of_deleted_items_stays_on_the_disk(tmp_path):
    items = made(200, dim=16)
    secret = items.ids[52]
    gallery = open_gallery(tmp_path / "g", create=GallerySettings())
    gallery.add(items)
    gallery.flush()
    row = gallery.get([secret], features=True).features[0]
    assert holds(tmp_path / "g", secret, row)
    gallery.delete(Filter(ids=(secret,)))
    gallery.compact()
    gallery.close()
    assert not holds(tmp_path / "g", secret, row) and not holds(
        tmp_path / "g", items.paths[52], row
    )
    with open_gallery(tmp_path / "g") as again:
        kept = items.take([number for number in range(200) if number != 52])
        assert len(again) == 199
        found = again.get(kept.ids, features=True)
        np.testing.assert_array_equal(found.features, kept.features)
        assert (
            found.paths == kept.paths
            and again.search(kept.features[:1], 1)[0][0].similarity > 0.999
        )


def test_images_that_the_gallery_keeps_go_with_their_items(tmp_path):
    items = made(4)
    with open_gallery(tmp_path / "g", create=GallerySettings()) as gallery:
        gallery.add(items)
        (tmp_path / "g" / "images").mkdir()
        (tmp_path / "g" / "thumbnails").mkdir()
        for one in items.ids:
            (tmp_path / "g" / "images" / f"{one}.jpg").touch()
            (tmp_path / "g" / "thumbnails" / one).touch()
        assert forget(gallery, Filter(ids=("0" * 32,))) == 0
        assert (tmp_path / "g" / "thumbnails").exists()
        assert forget(gallery, Filter(ids=items.ids[:3])) == 3 and len(gallery) == 1
    left = [path.name for path in (tmp_path / "g" / "images").iterdir()]
    assert left == [f"{items.ids[3]}.jpg"] and not (tmp_path / "g" / "thumbnails").exists()


def test_what_was_added_too_long_ago_goes():
    now = time.time()
    items = made(5)
    ages = np.array([0.0, 1.0, 29.9, 30.1, 400.0])
    items = Items.of(items.features, items.paths, ids=items.ids, added=now - 86_400 * ages)
    gallery = FileGallery(items, GallerySettings())
    assert expire(gallery) == 0  # nothing says how long
    gallery.change_settings(retention_days=30)
    assert expire(gallery) == 2 and expire(gallery) == 0
    assert expire(gallery, 0.5) == 2 and [one.ids for one in gallery.scan()] == [items.ids[:1]]
    with pytest.raises(InputError, match="days"):
        expire(gallery, 0)
    # An item of which nobody knows when it was added is as old as its import.
    unknown = Items.of(made(1, seed=9).features, ["x"], added=[float("nan")])
    gallery.add(unknown)
    assert expire(gallery, 1e-9) == 2
    gallery.add(items)
    gallery.delete(Filter(not_ids=items.ids[:1]))
    gallery.change_settings(retention_days=1e308)
    assert expire(gallery) == 0 and len(gallery) == 1
