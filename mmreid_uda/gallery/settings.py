"""What a gallery remembers beside its items."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmreid_uda.utils import InputError
from mmreid_uda.utils.values import Natural, Positive, checked

__all__ = ["FORMAT", "GallerySettings", "Threshold"]

FORMAT = 1
"""Version of the form in which settings and items are stored."""


@dataclass(frozen=True)
class Threshold:
    """A similarity from which on two images are taken for the same subject, and what it was measured on.

    Args:
        similarity: Cosine; pairs of at least this similarity are accepted.
        far: False accept rate measured at it: the share of the pairs of two subjects that are accepted.
        tpr: Share of the pairs of one subject that are accepted.
        positives: Number of pairs of one subject.
        negatives: Number of pairs of two.
        asked_far: The false accept rate that was asked for, which ``far`` does not exceed.
    """

    similarity: float
    far: float
    tpr: float
    positives: int
    negatives: int
    asked_far: float


@checked
@dataclass(frozen=True)
class GallerySettings:
    """What holds for a whole gallery; changed by :meth:`Gallery.change_settings`, stored with the items.

    Args:
        fingerprint: Of model and preprocessing, see :func:`~mmreid_uda.apis.model_fingerprint`; '' = unknown.
        dim: D; 0 until the first items are added.
        config: The config of the model; '' = unknown.
        checkpoint: Its weights; '' = unknown.
        options: Dotted keys -> values merged into the config; None = none.
        threshold: Found by :func:`~mmreid_uda.gallery.calibrate`; None before.
        retention_days: Items that were added longer ago are to be deleted; None keeps them.
        exact_up_to: Items up to which a search is exact unless it says otherwise. Defaults to 200,000.
        means: Camera -> what centering subtracts, D numbers, ``''`` for unknown cameras; None before
            :meth:`Gallery.learn_means`.
    """

    fingerprint: str = ""
    dim: Natural = 0
    config: str = ""
    checkpoint: str = ""
    options: Mapping[str, Any] | None = None
    threshold: Threshold | None = None
    retention_days: Positive | None = None
    exact_up_to: Natural = 200_000
    means: Mapping[str, list[float]] | None = None

    def changed(self, **changes: Any) -> GallerySettings:
        """The same settings with others in some places.

        Args:
            **changes: As for the class.

        Returns:
            New settings.

        Raises:
            InputError: One is unknown, or its value is not allowed.
        """
        known = [one.name for one in dataclasses.fields(self)]
        if unknown := sorted(set(changes) - set(known)):
            raise InputError(
                f"found {unknown[0]!r} as a setting of a gallery, expected one of {', '.join(known)}: correct the name."
            )
        return dataclasses.replace(self, **changes)

    def as_json(self) -> dict[str, Any]:
        """What a file holds.

        Returns:
            Values that JSON can hold, with the version of the form.
        """
        return {"format": FORMAT, **dataclasses.asdict(self)}

    @classmethod
    def of_json(cls, content: Mapping[str, Any], where: str) -> GallerySettings:
        """Undo :meth:`as_json`.

        Args:
            content: What was read.
            where: The gallery, for sentences.

        Returns:
            The settings.

        Raises:
            InputError: It is no such content, or of a later version.
        """
        values = dict(content)
        version = values.pop("format", None)
        if not isinstance(version, int) or version > FORMAT:
            raise InputError(
                f"found the gallery {where!r} in the form {version!r}, expected 1 to {FORMAT}: update mmreid_uda, or "
                "name another gallery."
            )
        try:
            if values.get("threshold") is not None:
                values["threshold"] = Threshold(**values["threshold"])
            return cls().changed(**values)
        except TypeError as error:
            raise InputError(
                f"found settings of the gallery {where!r} that cannot be read ({error}), expected what was stored: "
                "restore them from a copy."
            ) from error
