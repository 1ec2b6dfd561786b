"""What a person looks at, and says: clusters of a run or a gallery, and acts that become links."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mmreid_uda.clustering import cluster_quality, cluster_statistics, label_health, renumber
from mmreid_uda.neighbors import center_cameras
from mmreid_uda.structures import Evidence, Links
from mmreid_uda.utils import InputError, check_vectors, make_rng
from mmreid_uda.utils.values import Count, Natural, checked
from mmreid_uda.visualization import project

from .acts import Act, History
from .clusters import ClusterTable, cluster_table
from .looks import unit_rows
from .questions import Cell, Known, Question, Rule, ask_me, random_questions
from .reclustering import Reclustering
from .revision import join_links, pairs_to_links

if TYPE_CHECKING:
    from mmreid_uda.gallery import Gallery

__all__ = ["Review"]

# Of a map.
_FEWEST_MARKS = 10


class Review:
    """Clusters of N images, and what a person says of them.

    Nothing here trains or serves. Every act is rows of ``links.csv`` (:class:`~mmreid_uda.review.acts.History`),
    written whole or not at all, and holds for :meth:`recluster` and for the next training. Labels change by
    :meth:`recluster` alone. All methods may be called by several threads.

    Args:
        features: float32 (N, D), finite and without zero rows; they are brought to unit norm.
        paths: Of the N images.
        labels: int64 (N,), clusters, -1 = outlier.
        evidence: What is known of the images; its links and ignored images are replaced
            by those of the file.
        links_path: ``links.csv``, there or not.
        root: Folder that the paths in it are relative to.
        clustering: Makes labels of the features; None: :meth:`recluster` is refused.
        identities: int64 (N,), the truth where it is known, -1 = unknown; for figures alone.
        name: For people.

    Attributes:
        labels: int64 (N,), those of the last clustering.
        ids: The images' identifiers in a gallery; None elsewhere.

    Raises:
        InputError: The parts are not of equal length, or the features are not as expected.
    """

    def __init__(
        self,
        features: np.ndarray,
        paths: Sequence[str],
        labels: np.ndarray,
        evidence: Evidence,
        links_path: str | Path,
        root: str | Path,
        clustering: Reclustering | None = None,
        identities: np.ndarray | None = None,
        name: str = "",
    ) -> None:
        features = check_vectors(features, "features to review", names=paths)
        lengths = (len(features), len(paths), len(labels), len(evidence))
        if len(set(lengths)) > 1:
            raise InputError(
                "found {} features, {} paths, {} labels and evidence of {} images to review, expected one of each for "
                "every image: take all four from one run or gallery.".format(*lengths)
            )
        self.features = _at_unit_norm(features)
        self.paths, self.name = list(paths), name
        self.ids: list[str] | None = None
        self.labels = np.asarray(labels, np.int64)
        self.clustering = clustering
        self.identities = identities
        self._known = evidence
        self._history = History(links_path, self.paths, root, self._distances)
        self._lock = threading.Lock()
        self._table: tuple[tuple, ClusterTable] | None = None
        self._evidence: tuple[Links, Evidence] | None = None
        self._centered: np.ndarray | None = None
        self._asked: dict[tuple[int, int], Cell] = {}
        self.links_path, self.root = self._history.path, Path(root)

    @classmethod
    def of_run(cls, work_dir: str | Path, **options: Any) -> Review:
        """See :func:`~mmreid_uda.review.sources.review_run`."""
        from .sources import review_run  # which stands above this module

        return review_run(work_dir, **options)

    @classmethod
    def of_gallery(cls, gallery: Gallery, **options: Any) -> Review:
        """See :func:`~mmreid_uda.review.sources.review_gallery`."""
        from .sources import review_gallery  # which stands above this module

        return review_gallery(gallery, **options)

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def links(self) -> Links:
        """What the file says of the images now."""
        return self._history.links

    @property
    def evidence(self) -> Evidence:
        """What is known of the images, with the links as they are now."""
        known, (_, links, ignored) = self._known, self._history.now()
        with self._lock:
            # Its arrays lie in shared memory: made anew only where the file says something new.
            if self._evidence is None or self._evidence[0] is not links:
                told = Evidence(
                    known.cameras,
                    known.times,
                    known.tracklets,
                    ignored,
                    links,
                    known.camera_names,
                    known.tracklet_names,
                )
                self._evidence = links, told
            return self._evidence[1]

    # ---- looking

    @checked
    def clusters(self, num_nearest: Natural = 6) -> ClusterTable:
        """All clusters, the worst first.

        Args:
            num_nearest: Other clusters to name for each.

        Returns:
            See :class:`ClusterTable`.
        """
        # What it is made of is held, so that nothing else can be taken for it.
        of = (self.labels, self.evidence, num_nearest)
        with self._lock:
            known = self._table
        if known is None or any(one is not other for one, other in zip(known[0], of)):
            known = of, cluster_table(self.features, *of)
            with self._lock:
                self._table = known
        return known[1]

    def members(self, label: int) -> tuple[np.ndarray, np.ndarray]:
        """The images of a cluster.

        Args:
            label: Of the cluster; -1 for the images without one, which have no center: in the order of the data.

        Returns:
            Positions int64 (n,), the nearest to the center first, and their cosine to it, float32 (n,).

        Raises:
            InputError: There is no such cluster.
        """
        images = np.flatnonzero(self.labels == label)
        if label < 0:
            return images, np.zeros(len(images), np.float32)
        if not len(images):
            raise InputError(
                f"found no cluster {label} among {int(self.labels.max(initial=-1)) + 1}, expected the label of one: it "
                "may have been clustered anew since; take one of the list of clusters."
            )
        rows = self.features[images]
        center = rows.sum(0)
        similarity = rows @ (center / max(float(np.linalg.norm(center)), 1e-12))
        order = np.lexsort((images, -similarity))
        return images[order], similarity[order].astype(np.float32)

    @checked
    def map(self, seed: Natural = 0, landmarks: Count = 3000) -> np.ndarray:
        """Lay all images out on a plane, near ones near, see :func:`~mmreid_uda.visualization.project`.

        Args:
            seed: The map repeats itself for equal seeds.
            landmarks: Images that are laid out by t-SNE; the others are put between them.

        Returns:
            float32 (N, 2); axes have no unit.
        """
        return project(self._compared(), seed=seed, landmarks=max(landmarks, _FEWEST_MARKS))

    # ---- saying

    def merge(self, labels: Sequence[int], author: str = "") -> Act:
        """Say that clusters show one subject.

        Written are must-links of every image with the one in the middle of its cluster, and of the middles with the
        first: n - 1 for n images. All of them are one group then, whatever the next features are.

        Args:
            labels: Of the clusters, two at least.
            author: Who says it.

        Returns:
            The act.

        Raises:
            InputError: There are fewer than two clusters, or one is not there.
        """
        distinct = list(dict.fromkeys(int(label) for label in labels))
        if len(distinct) < 2 or min(distinct) < 0:
            raise InputError(
                f"found the clusters {distinct} to be merged, expected two at least, and no images without a cluster: "
                "choose clusters by their labels, or say of a pair that it shows the same."
            )
        members = [self.members(label)[0] for label in distinct]
        middles = np.array([images[0] for images in members])
        stars = [pairs_to_links(images[0], images[1:], True) for images in members]
        links = join_links(pairs_to_links(middles[0], middles[1:], True), *stars)
        return self._history.write("merge", links, author=author)

    def split(
        self, label: int, positions: Sequence[int], author: str = "", whole: str = "selected"
    ) -> Act:
        """Say that some images of a cluster show another subject than the rest.

        The selected images are said to be one subject, and none of the rest to show it: must-links of each with the
        middle one of the selection, cannot-links of that one with every image of the rest; n - 1 in all for n images.
        Of the rest among itself nothing is said. ``whole='rest'`` says it the other way round: the rest is one subject,
        and each of the selected images another one.

        Args:
            label: Of the cluster.
            positions: Images of it, not all.
            author: Who says it.
            whole: ``'selected'`` (default) or ``'rest'``: the side that is one subject.

        Returns:
            The act.

        Raises:
            InputError: No image is selected, or all are, or one of another cluster.
        """
        members = self.members(label)[0]
        chosen = np.isin(members, self._images(positions))
        strangers = len(set(map(int, positions))) - int(chosen.sum())
        if strangers or chosen.all() or not chosen.any() or label < 0:
            raise InputError(
                f"found {int(chosen.sum())} of the {len(members)} images of cluster {label} selected, and {strangers} "
                "of others, expected some of its images and not all: it may have been clustered anew since."
            )
        if whole not in ("selected", "rest"):
            raise InputError(f"found whole={whole!r}, expected 'selected' or 'rest': correct it.")
        one, other = members[chosen], members[~chosen]
        if whole == "rest":
            one, other = other, one
        # Members come the nearest to the center first; the middle of the selection is its own.
        rows = self.features[one]
        middle = one[int((rows @ rows.sum(0)).argmax())]
        links = join_links(pairs_to_links(middle, one, True), pairs_to_links(middle, other, False))
        return self._history.write("split", links, author=author)

    def answer(self, first: int, second: int, same: bool, author: str = "") -> Act:
        """Say whether two images show one subject: one link.

        Args:
            first: An image.
            second: Another.
            same: Whether they show one subject.
            author: Who says it.

        Returns:
            The act.

        Raises:
            InputError: It is one image, or none of these.
        """
        one, other = self._images([first, second])
        if one == other:
            raise InputError(
                f"found image {first} twice, expected two images to compare: choose another."
            )
        links = pairs_to_links(one, other[None], same)
        return self._history.write("same" if same else "different", links, author=author)

    def not_a_subject(self, positions: Sequence[int], author: str = "") -> Act:
        """Say of images that they show no subject: they get no label, and their links sleep.

        Args:
            positions: The images, one at least.
            author: Who says it.

        Returns:
            The act.

        Raises:
            InputError: There is no image, or none of these.
        """
        images = np.unique(self._images(positions))
        if not len(images):
            raise InputError(
                "found no image that shows no subject, expected one at least: select it."
            )
        return self._history.write("not_subject", Links(), images, author)

    def undo(self, act_id: str, author: str = "") -> Act:
        """Take an act back, see :meth:`History.undo`.

        Args:
            act_id: Its id.
            author: Who takes it back.

        Returns:
            The new act.

        Raises:
            InputError: There is no such act, or it is undone already.
        """
        return self._history.undo(act_id, author)

    def acts(self) -> list[Act]:
        """What was said so far, as it stands in the file.

        Returns:
            The acts, the latest last.
        """
        return self._history.acts()

    @checked
    def questions(
        self, num: Natural = 10, rule: Rule = "ask_me", seed: Natural = 0
    ) -> list[Question]:
        """Pairs to ask a person about; answers go to :meth:`answer`.

        Args:
            num: Questions at most.
            rule: ``'ask_me'`` (default), see :func:`~mmreid_uda.review.questions.ask_me`; ``'random'``, an image and
                one of its ten nearest; ``'uniform'``, any two images.
            seed: Of what is drawn.

        Returns:
            The questions, none of them answered or implied by answers; the most telling first.
        """
        features, evidence = self._compared(), self.evidence
        known = Known(evidence.links, evidence.ignored, evidence.tracklets)
        if rule != "ask_me":
            rng = make_rng(seed, "questions", rule, len(known.links))
            return random_questions(features, known, num, rng, near=rule == "random")

        def clustered(scale: float) -> np.ndarray:
            if self.clustering is None:
                return self.labels
            return self.clustering(self.features, evidence, scale)

        found = ask_me(features, self.labels, known, clustered, self._past(), num, seed)
        with self._lock:
            self._asked.update({(one.first, one.second): one.cell for one in found if one.cell})
        return found

    def _past(self) -> dict[Cell, tuple[int, int]]:
        """Of the questions of this object, by kind and step: how many are answered, and how many changed labels."""
        tally: dict[Cell, tuple[int, int]] = {}
        with self._lock:
            asked = dict(self._asked)
        for first, second, same in zip(*(one.tolist() for one in self._history.answers())):
            cell = asked.get((first, second)) or asked.get((second, first))
            if cell is not None:
                num, changed = tally.get(cell, (0, 0))
                # Of a join the answer "same" changes labels, of a break "different".
                tally[cell] = num + 1, changed + (same != bool(cell[0]))
        return tally

    def _compared(self) -> np.ndarray:
        """Features in which images of different cameras are compared, as the clusterer does."""
        chosen = None if self.clustering is None else self.clustering.clustering.chosen
        if chosen not in ("center", "both"):
            return self.features
        if self._centered is None:
            rows, cameras = (torch.from_numpy(one) for one in (self.features, self._known.cameras))
            self._centered = unit_rows(center_cameras(rows, cameras).numpy())
        return self._centered

    # ---- what comes of it

    @checked
    def recluster(self, keep: bool = True) -> np.ndarray:
        """Cluster the same features with the links as they are now.

        Args:
            keep: Whether :attr:`labels` are these from now on. Defaults to True.

        Returns:
            int64 (N,), -1 = outlier.

        Raises:
            InputError: Nobody knows how these labels were made; or the clusterer refuses.
        """
        if self.clustering is None:
            raise InputError(
                "found labels of unknown origin to be clustered anew, expected those of a run or a gallery: use "
                "Review.of_run or Review.of_gallery."
            )
        labels = renumber(self.clustering(self.features, self.evidence))
        if keep:
            self.labels = labels
        return labels

    def health(self, labels: np.ndarray | None = None) -> dict[str, float]:
        """Figures of labels, with the links as they are now.

        Args:
            labels: int64 (N,); None for :attr:`labels`.

        Returns:
            Those of :func:`~mmreid_uda.clustering.cluster_statistics` and
            :func:`~mmreid_uda.clustering.label_health`; where identities are known those of
            :func:`~mmreid_uda.clustering.cluster_quality` as well.
        """
        labels = self.labels if labels is None else labels
        evidence = self.evidence
        found = cluster_statistics(labels[~evidence.ignored])
        found.update(label_health(labels, evidence=evidence))
        if self.identities is not None and (self.identities >= 0).any():
            found.update(cluster_quality(labels, self.identities))
        return found

    def _images(self, positions: Sequence[int]) -> np.ndarray:
        """Positions as an array, all of them of images."""
        images = np.asarray(positions, np.int64).reshape(-1)
        if len(images) and (images.min() < 0 or images.max() >= len(self)):
            raise InputError(
                f"found the images {images.min()} to {images.max()}, expected positions of 0 to {len(self) - 1}: take "
                "those of a cluster."
            )
        return images

    def _distances(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Cosine distances of pairs."""
        return 1 - np.einsum("nd,nd->n", self.features[first], self.features[second])


def _at_unit_norm(features: np.ndarray) -> np.ndarray:
    """float32 rows of unit norm; the same array where they are already."""
    features = np.asarray(features, np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", features, features))
    return features if np.abs(lengths - 1).max(initial=0) < 1e-4 else unit_rows(features)
