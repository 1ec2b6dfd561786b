"""The one interface of galleries: items are added, changed, deleted, found again; whatever keeps them."""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple

import numpy as np

from mmreid_uda.evaluation import TimePrior
from mmreid_uda.neighbors import unit_rows
from mmreid_uda.neighbors.centering import CameraMeans
from mmreid_uda.utils import InputError, check_vectors
from mmreid_uda.utils.values import Count, checked

from .filters import TEXT_COLUMNS, Filter
from .items import Items, Sightings, canonical_id
from .ranking import Found, Ranking
from .settings import GallerySettings

__all__ = ["BATCH", "Gallery", "Group", "Match", "require_same_model"]

BATCH = 1000
"""Items that are read or written at once where many are."""
Group = Literal["tracklet", "identity"]
"""What a search can give the best item of."""
Field = Literal["camera", "identity", "tracklet"]
"""What values can be counted of."""
# How much farther a search looks, where what it found does not fill the groups.
_DEEPER = 4


class Match(NamedTuple):
    """One line of a search result."""

    id: str
    path: str
    """The gallery image; ``<array 3>`` for one that was given as an array."""
    similarity: float
    """Cosine of the features as they are stored, -1..1."""
    camera: str = ""
    time: float = math.nan
    tracklet: str = ""
    identity: str = ""
    score: float | None = None
    """By which matches are ordered where it is not by similarity: centered, re-ranked, with a time prior."""
    group_size: int | None = None
    """Items of the gallery that meet the filter and belong to the group, of a search for groups."""


class Gallery(ABC):
    """Items with features that are searched, whatever keeps them; :func:`~mmreid_uda.gallery.open_gallery` opens one.

    Several threads may use one gallery at the same time. It is a context manager, which closes it.

    Args:
        url: What :func:`~mmreid_uda.gallery.open_gallery` opens.
        settings: What is stored with the items.
        read_only: Whether everything that changes it is refused.
    """

    kind: Literal["file", "embedded", "server"]

    def __init__(self, url: str, settings: GallerySettings, read_only: bool) -> None:
        self.url, self.read_only = url, read_only
        self._settings = settings
        self._writing = threading.RLock()

    @property
    def settings(self) -> GallerySettings:
        """What holds for the whole gallery."""
        return self._settings

    @property
    def fingerprint(self) -> str:
        """Of the model that made the features; '' = unknown."""
        return self._settings.fingerprint

    @property
    def dim(self) -> int:
        """D; 0 before the first items are added."""
        return self._settings.dim

    @property
    def folder(self) -> Path | None:
        """Where files that belong to the gallery lie: links, an audit, images; None where there is no such folder."""
        return None

    def __len__(self) -> int:
        return self.count()

    def __enter__(self) -> Gallery:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # What a back end does.

    @abstractmethod
    def _existing(self, ids: Sequence[str]) -> set[str]:
        """Those of some identifiers that are there."""

    @abstractmethod
    def _upsert(self, items: Items) -> None:
        """Store items with features, in the place of those of the same identifiers."""

    @abstractmethod
    def _delete(self, where: Filter) -> None:
        """Delete items."""

    @abstractmethod
    def _get(self, ids: Sequence[str], features: bool) -> Items:
        """Items of those identifiers that are there, in any order."""

    @abstractmethod
    def _set(
        self, ids: Sequence[str], identity: str | None, fields: list[dict[str, Any]] | None
    ) -> None:
        """Change the identity, the free fields, or both, of items that are there."""

    @abstractmethod
    def _nearest(self, rows: np.ndarray, k: int, where: Filter, exact: bool) -> list[Found]:
        """The ``k`` most similar items of each unit row (Q, D), best first; of equal similarities any."""

    def _commit(self) -> None:  # noqa: B027 - nothing to do where every change is durable at once
        """Make all changes so far durable; other threads may change items meanwhile."""

    @abstractmethod
    def _store_settings(self, settings: GallerySettings) -> None:
        """Keep settings; durable when it returns."""

    @abstractmethod
    def count(self, where: Filter | None = None) -> int:
        """Number of items.

        Args:
            where: Which ones. Defaults to None: all.

        Returns:
            How many there are.
        """

    @abstractmethod
    def values(self, field: Field, where: Filter | None = None) -> dict[str, int]:
        """The values that a text of the items has.

        Args:
            field: ``'camera'``, ``'identity'`` or ``'tracklet'``.
            where: Of which items. Defaults to None: all.

        Returns:
            Value -> number of items, in the order of the values; ``''`` for those where it is unknown.
        """

    @abstractmethod
    def scan(
        self, where: Filter | None = None, features: bool = True, batch: int = BATCH
    ) -> Iterator[Items]:
        """Read items one batch after the other, in the order of their identifiers.

        What is added or deleted meanwhile is seen or not; all others are seen once.

        Args:
            where: Which ones. Defaults to None: all.
            features: Whether their features are read as well. Defaults to True.
            batch: Items at once.

        Yields:
            Up to ``batch`` items.
        """

    def optimize(self) -> None:  # noqa: B027 - nothing to do for a back end that has no index of its own
        """Build what an approximate search needs, and tidy up; may take minutes, searches go on meanwhile."""

    def compact(self) -> None:  # noqa: B027 - nothing to do where nothing of deleted items stays
        """Take from the disk what was deleted, where it may still lie in files of the back end."""

    def flush(self) -> None:  # noqa: B027 - nothing to do where every change is durable at once
        """Make what was changed durable, where that has not been done at once."""

    @abstractmethod
    def close(self) -> None:
        """Flush, and let go of files and connections; closing twice is allowed."""

    # What all share.

    def add(self, items: Items, fingerprint: str = "") -> int:
        """Add items; those whose identifier is there already are left as they are.

        The first items decide the dimension. With identifiers of :func:`~mmreid_uda.gallery.content_id`, adding the
        same images again changes nothing. What was added is durable when this returns; of a file, once it is flushed.

        Args:
            items: With features, see :meth:`Items.of`.
            fingerprint: Of the model that made the features; '' = unknown, which is not compared.

        Returns:
            How many were new.

        Raises:
            InputError: The gallery is read-only, of another model or dimension, or the features are not as expected.
        """
        with self._writing:
            items = self._fitting(items, fingerprint)
            there = self._existing(items.ids) if len(items) else set()
            new = np.array([one not in there for one in items.ids], bool)
            if new.any():
                self._upsert(items if new.all() else items.take(new))
        self._commit()
        return int(new.sum())

    def upsert(self, items: Items, fingerprint: str = "") -> None:
        """Add items, in the place of those of the same identifiers.

        Args:
            items: As for :meth:`add`.
            fingerprint: As for :meth:`add`.

        Raises:
            InputError: As for :meth:`add`.
        """
        with self._writing:
            items = self._fitting(items, fingerprint)
            if len(items):
                self._upsert(items)
        self._commit()

    def delete(self, where: Filter) -> int:
        """Delete items.

        Args:
            where: Which ones; a filter without conditions deletes everything.

        Returns:
            How many there were.

        Raises:
            InputError: The gallery is read-only.
        """
        with self._writing:
            self._require_writable()
            if found := self.count(where):
                self._delete(where)
        self._commit()
        return found

    def get(self, ids: Sequence[str], features: bool = False) -> Items:
        """Read items.

        Args:
            ids: Identifiers; each may be asked for once.
            features: Whether their features are read as well. Defaults to False.

        Returns:
            The items, in this order.

        Raises:
            InputError: One is not there.
        """
        wanted = [canonical_id(one) for one in ids]
        found = self._get(wanted, features)
        place = {one: number for number, one in enumerate(found.ids)}
        if missing := [one for one in wanted if one not in place]:
            more = f" and {len(missing) - 1} others" if missing[1:] else ""
            raise InputError(
                f"found no item {missing[0]}{more} in the gallery {self.url!r}, expected identifiers of its items: "
                "search again, they may have been deleted."
            )
        return found.take([place[one] for one in wanted])

    def update(
        self,
        ids: Sequence[str],
        *,
        identity: str | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """Say of items who they are, or free values; features stay.

        Args:
            ids: Identifiers.
            identity: The one identity of all of them, ``''`` = unknown. Defaults to None: stays.
            fields: Values that are set; None takes one away, other names stay. Defaults to None.

        Raises:
            InputError: The gallery is read-only, an item is not there, or fields are not what JSON holds.
        """
        with self._writing:
            self._require_writable()
            found = self.get(ids)
            if not len(found):
                return
            texts = None if identity is None else [identity] * len(found)
            changed = None
            if fields is not None:
                changed = [
                    {k: v for k, v in {**one, **fields}.items() if v is not None}
                    for one in found.fields
                ]
            checked_items = Items.of(
                None, found.paths, ids=found.ids, identities=texts, fields=changed
            )
            self._set(found.ids, identity, None if changed is None else checked_items.fields)
        self._commit()

    def change_settings(self, **changes: Any) -> GallerySettings:
        """Change and store settings.

        Args:
            **changes: Such as ``retention_days=30``, see :class:`GallerySettings`.

        Returns:
            The new settings.

        Raises:
            InputError: The gallery is read-only, a setting is unknown or its value is not allowed; or another dimension
                or fingerprint than that of the items.
        """
        with self._writing:
            self._require_writable()
            changed = self._settings.changed(**changes)
            if changed.dim != self.dim and self.dim and len(self):
                raise InputError(
                    f"found {changed.dim} as the dimension of a gallery whose items have {self.dim}, expected the "
                    "same: leave dim out, or make another gallery."
                )
            if changed != self._settings:
                self._store_settings(changed)
                self._settings = changed
            return changed

    @checked
    def search(
        self,
        features: np.ndarray,
        topk: Count = 10,
        where: Filter | None = None,
        *,
        exact: bool | None = None,
        group_by: Group | None = None,
        threshold: float | None = None,
        prior: TimePrior | None = None,
        sightings: Sightings | None = None,
        rerank: bool = False,
        center: bool = False,
        candidates: Count = 1000,
    ) -> list[list[Match]]:
        """Find the most similar items of each query.

        ``center``, ``rerank`` and ``prior`` rank the most similar items anew; the others are out of the race. Matches
        of equal score are ordered by similarity, those of equal similarity by identifier.

        Args:
            features: float (Q, D), of the same model.
            topk: Matches per query, or groups.
            where: Which items are searched. Defaults to None: all.
            exact: Whether all of them are compared. Defaults to None: up to ``settings.exact_up_to`` items.
            group_by: Gives the best item of each tracklet or identity; an item where it is unknown is a group of its
                own. Defaults to None.
            threshold: Least similarity, such as ``settings.threshold.similarity``. Defaults to None.
            prior: Ranks by the time between cameras as well, by :func:`~mmreid_uda.evaluation.joint_score`.
            sightings: Where and when the queries were taken; a prior needs it, centering takes the cameras of it.
            rerank: Whether k-reciprocal neighbourhoods among the candidates rank them anew, see
                :func:`~mmreid_uda.evaluation.rerank`.
            center: Whether similarities are compared without what is common to the images of a camera, see
                :meth:`learn_means`.
            candidates: Items that are ranked anew; raised to ``topk``. Defaults to 1000.

        Returns:
            For each query its matches, best first: ``topk``, or all if there are fewer; an approximate search may find
            fewer.

        Raises:
            InputError: The features or their dimension are not as expected; what an option needs is not known.
        """
        where = where or Filter()
        rows = self._queries(features)
        if sightings is not None and len(sightings.cameras) != len(rows):
            raise InputError(
                f"found cameras and times of {len(sightings.cameras)} queries for {len(rows)} features, expected those "
                "of the same queries: correct sightings."
            )
        ranking = Ranking(self._means() if center else None, rerank, prior, sightings)
        if prior is not None:
            self._require_times(prior, sightings)
        if exact is None:
            exact = self.count() <= self.settings.exact_up_to
        depth = max(topk, candidates) if ranking else topk
        found = self._best(rows, depth, where, exact)
        results = []
        for number, one in enumerate(found):
            matches, complete = self._ranked(
                rows[number], number, one, ranking, group_by, threshold
            )
            asked = depth
            while group_by and len(matches) < topk and len(one) == asked and not complete:
                asked *= _DEEPER
                [one] = self._best(rows[[number]], asked, where, exact)
                matches, complete = self._ranked(
                    rows[number], number, one, ranking, group_by, threshold
                )
            results.append(self._with_sizes(matches[:topk], group_by, where))
        return results

    def search_items(
        self,
        ids: Sequence[str],
        topk: int = 10,
        where: Filter | None = None,
        *,
        together: bool = False,
        **options: Any,
    ) -> list[list[Match]]:
        """Find what is most similar to items of the gallery; an item does not find itself.

        Args:
            ids: Q items.
            topk: As for :meth:`search`, as are the others.
            where: Which items are searched.
            together: Whether they show one subject, see :meth:`search_together`; then none of them is found.
            **options: As for :meth:`search`; cameras and times are those of the items.

        Returns:
            Q lists of matches, or one.

        Raises:
            InputError: An item is not there; or as for :meth:`search`.
        """
        items = self.get(ids, features=True)
        assert items.features is not None
        where = where or Filter()
        if together:
            found = self.search_together(
                items.features, topk, where.without(items.ids), sightings=items.sightings, **options
            )
            return [found]
        results = []
        for number, one in enumerate(items.ids):
            seen = Sightings(items.cameras[[number]], items.times[[number]])
            results += self.search(
                items.features[[number]], topk, where.without([one]), sightings=seen, **options
            )
        return results

    def search_together(
        self,
        features: np.ndarray,
        topk: int = 10,
        where: Filter | None = None,
        *,
        sightings: Sightings | None = None,
        **options: Any,
    ) -> list[Match]:
        """Find one subject of which there are several images.

        The query is the mean of the unit features, at unit norm: what is accidental to one image cancels out, and it is
        one search, exact or approximate. The similarity to the nearest of the images instead lets one bad crop decide.

        Args:
            features: float (Q, D).
            topk: As for :meth:`search`, as are the others.
            where: Which items are searched.
            sightings: Where and when the images were taken. Centering takes the camera if all were taken by one.
            **options: As for :meth:`search`; a time prior, which needs one camera and time, is refused.

        Returns:
            The matches, best first.

        Raises:
            InputError: As for :meth:`search`; or there is a time prior.
        """
        if options.get("prior") is not None:
            raise InputError(
                "found a time prior for several images of one subject, expected one image, with one camera and time: "
                "search for the images one by one, or leave the prior out."
            )
        rows = self._queries(features)
        one = None
        if sightings is not None and len(set(sightings.cameras.tolist())) == 1:
            one = Sightings(sightings.cameras[:1], np.array([math.nan]))
        [found] = self.search(rows.mean(0, keepdims=True), topk, where, sightings=one, **options)
        return found

    def learn_means(self, where: Filter | None = None) -> GallerySettings:
        """Measure what the images of each camera have in common, which a centered search subtracts; stored.

        Args:
            where: From which items. Defaults to None: all.

        Returns:
            The new settings.

        Raises:
            InputError: The gallery is read-only, or there is no such item.
        """
        self._require_writable()
        return self.change_settings(means=self._measured_means(where))

    def _measured_means(self, where: Filter | None) -> dict[str, list[float]]:
        means = CameraMeans()
        for items in self.scan(where):
            assert items.features is not None
            means.add(items.features, items.cameras)
        if not means.num_images:
            raise InputError(
                f"found no item in the gallery {self.url!r} to learn means of cameras from, expected some: add items, "
                "or name others with where."
            )
        return {one: row.tolist() for one, row in means.means().items()}

    def _fitting(self, items: Items, fingerprint: str) -> Items:
        """Items that can be added, checked once more; the first ones decide dimension and fingerprint."""
        self._require_writable()
        require_same_model(fingerprint, self.fingerprint, self.url)
        if not len(items):
            return items
        if items.features is None:
            raise InputError(
                f"found {len(items)} items without features to add, expected features: give them to Items.of."
            )
        items = Items.of(**{name: getattr(items, name) for name in Items.__dataclass_fields__})
        assert items.features is not None
        self._require_dim(items.features, "features to add")
        first = {} if self.dim else {"dim": items.features.shape[1]}
        if fingerprint and not self.fingerprint:
            first["fingerprint"] = fingerprint
        if first:
            self.change_settings(**first)
        return items

    def _queries(self, features: np.ndarray) -> np.ndarray:
        rows = check_vectors(features, "features of the queries")
        self._require_dim(rows, "queries")
        return unit_rows(rows)

    def _require_dim(self, rows: np.ndarray, what: str) -> None:
        if self.dim and rows.shape[1] != self.dim:
            raise InputError(
                f"found {what} of shape {rows.shape}, expected (N, {self.dim}): take the features of the model that "
                f"made the gallery {self.url!r}."
            )

    def _require_writable(self) -> None:
        if self.read_only:
            raise InputError(
                f"found the gallery {self.url!r} opened to be read, expected one that can be changed: open it without "
                "read_only."
            )

    def _require_times(self, prior: TimePrior, sightings: Sightings | None) -> None:
        if sightings is None:
            raise InputError(
                "found a time prior and queries without cameras and times, expected both: take the queries from a data "
                "set that reads them (docs/data.md), not from a folder."
            )
        cameras = sorted(set(self.values("camera")) - {""})
        if not cameras:
            raise InputError(
                "found a gallery without cameras and times of its images, expected both for a time prior: build it "
                "from a data set that reads them (docs/data.md), not from a folder."
            )
        prior.require_cameras(sightings.cameras, "queries")
        prior.require_cameras(np.array(cameras), "gallery")

    def _means(self) -> dict[str, np.ndarray]:
        """What centering subtracts, learned when it is first asked for."""
        if self.settings.means is None:
            with self._writing:
                means = self._measured_means(None)
                if self.read_only:
                    self._settings = self._settings.changed(means=means)
                else:
                    self.change_settings(means=means)
        assert self.settings.means is not None
        return {one: np.array(row, np.float32) for one, row in self.settings.means.items()}

    def _best(self, rows: np.ndarray, k: int, where: Filter, exact: bool) -> list[Found]:
        """The k nearest, of equal similarities those whose identifier is lower, also where the list is cut."""
        found = self._nearest(rows, k + 1, where, exact)
        for number, one in enumerate(found):
            limit = k + 1
            while len(one) == limit and one.similarities[k - 1] == one.similarities[-1]:
                limit *= 2
                [one] = self._nearest(rows[[number]], limit, where, exact)
            found[number] = one.ordered(k)
        return found

    def _ranked(
        self,
        row: np.ndarray,
        number: int,
        found: Found,
        ranking: Ranking,
        group_by: Group | None,
        threshold: float | None,
    ) -> tuple[list[Match], bool]:
        """Matches in their order, the best of each group; and whether looking deeper finds no more."""
        beyond = threshold is not None and bool((found.similarities < threshold).any())
        if ranking and len(found):
            features = self.get(found.items.ids, features=True).features
            assert features is not None
            found = ranking.ranked(row, number, found, features)
        matches, seen = [], set()
        for place in range(len(found)):
            match = _match(found, place)
            if threshold is not None and match.similarity < threshold:
                continue
            group = getattr(match, group_by) if group_by else ""
            if group and group in seen:
                continue
            seen.add(group)
            matches.append(match)
        return matches, beyond

    def _with_sizes(
        self, matches: list[Match], group_by: Group | None, where: Filter
    ) -> list[Match]:
        if group_by is None or not matches:
            return matches
        column = TEXT_COLUMNS[group_by]
        groups = {getattr(one, group_by) for one in matches} - {""}
        sizes: dict[str, int] = {}
        if groups:
            sizes = self.values(group_by, where.changed(**{column: tuple(sorted(groups))}))
        return [one._replace(group_size=sizes.get(getattr(one, group_by), 1)) for one in matches]


def _match(found: Found, place: int) -> Match:
    items = found.items
    return Match(
        items.ids[place],
        items.paths[place],
        float(found.similarities[place]),
        str(items.cameras[place]),
        float(items.times[place]),
        str(items.tracklets[place]),
        str(items.identities[place]),
        None if found.scores is None else float(found.scores[place]),
    )


def require_same_model(queries: str, gallery: str, name: str = "") -> None:
    """Refuse to compare features of two models.

    Args:
        queries: Fingerprint of the model of the queries; empty = unknown.
        gallery: Fingerprint of the model of the gallery; empty = unknown.
        name: File of the gallery.

    Raises:
        InputError: Both are known, and differ.
    """
    if queries and gallery and queries != gallery:
        raise InputError(
            f"the gallery {f'{name!r} ' if name else ''}was made by a model or preprocessing with the fingerprint "
            f"{gallery[:12]}, the queries have {queries[:12]}, and features of the two cannot be compared: give the "
            "config and checkpoint that made it, or build the gallery again."
        )
