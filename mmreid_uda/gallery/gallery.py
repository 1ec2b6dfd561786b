"""The one interface of galleries: items are added, changed, deleted, and found again, whatever keeps them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from mmreid_uda.evaluation import TimePrior
from mmreid_uda.neighbors import unit_rows
from mmreid_uda.neighbors.centering import CameraMeans
from mmreid_uda.utils import InputError, check_vectors
from mmreid_uda.utils.values import Count, checked

from .filters import TEXT_COLUMNS, Filter
from .items import Sightings
from .ranking import Found, Ranking
from .settings import GallerySettings
from .store import ItemStore

__all__ = ["Gallery", "Group", "Match"]

Group = Literal["tracklet", "identity"]
"""What a search can give the best item of."""
# Items that a search looks at for each group that it is to find, before it looks beyond the groups it has found.
_PER_GROUP = 4


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


class Gallery(ItemStore):
    """Items with features that are searched, whatever keeps them; :func:`~mmreid_uda.gallery.open_gallery` opens one.

    Several threads may use one gallery at the same time. It is a context manager, which closes it.
    """

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
        depth = topk * _PER_GROUP if group_by else topk
        depth = max(topk, candidates) if ranking else depth
        results = []
        for number, found in enumerate(self._best(rows, depth, where, exact)):
            if ranking and len(found):
                theirs = self.get(found.items.ids, features=True).features
                assert theirs is not None
                found = ranking.ranked(rows[number], number, found, theirs)
            matches = _matches(found, threshold)
            if group_by:
                beyond = len(matches) == depth and not ranking
                matches = self._grouped(
                    rows[[number]], topk, where, exact, group_by, threshold, matches, beyond
                )
            results.append(matches[:topk])
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

    def _queries(self, features: np.ndarray) -> np.ndarray:
        rows = check_vectors(features, "features of the queries")
        self._require_dim(rows, "queries")
        return unit_rows(rows)

    def _require_times(self, prior: TimePrior, sightings: Sightings | None) -> None:
        if sightings is None:
            raise InputError(
                "found a time prior and queries without cameras and times, expected both: take the queries from a "
                "table of crops (.csv with camid and time) or another data set that reads them (docs/data.md)."
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

    def _grouped(
        self,
        row: np.ndarray,
        topk: int,
        where: Filter,
        exact: bool,
        group_by: Group,
        threshold: float | None,
        matches: list[Match],
        beyond: bool,
    ) -> list[Match]:
        """The best of each group, and how many there are of it.

        Where the best items do not fill the groups, the next best are those of none of the groups found so far, one
        search after the other, so that a group of thousands hides no other.
        """
        found: dict[tuple[str, str], Match] = {}
        column = TEXT_COLUMNS[group_by]
        while True:
            for one in matches:
                group = getattr(one, group_by)
                found.setdefault((group, "" if group else one.id), one)
            if len(found) >= topk or not beyond:
                break
            groups = [group for group, _ in found if group]
            left = where.without(one for group, one in found if not group)
            left = left.changed(
                **{f"not_{column}": (*(getattr(where, f"not_{column}") or ()), *groups)}
            )
            depth = topk * _PER_GROUP
            [more] = self._best(row, depth, left, exact)
            matches = _matches(more, threshold)
            beyond = len(matches) == depth
        best = list(found.values())[:topk]
        groups = sorted({getattr(one, group_by) for one in best} - {""})
        sizes = self.values(group_by, where.changed(**{column: groups})) if groups else {}
        return [one._replace(group_size=sizes.get(getattr(one, group_by), 1)) for one in best]


def _matches(found: Found, threshold: float | None) -> list[Match]:
    """What was found, and is similar enough, in its order."""
    items = found.items
    return [
        Match(
            items.ids[n],
            items.paths[n],
            float(found.similarities[n]),
            str(items.cameras[n]),
            float(items.times[n]),
            str(items.tracklets[n]),
            str(items.identities[n]),
            None if found.scores is None else float(found.scores[n]),
        )
        for n in range(len(found))
        if threshold is None or float(found.similarities[n]) >= threshold
    ]
