"""What MMT, ABMT and the UDA strong baseline share: students, a moving average of each, features of the averages."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from mmengine.model import ModuleList
from torch import Tensor, nn

from mmreid_uda.models.encoders import EncoderOutput
from mmreid_uda.models.heads import BranchOutput
from mmreid_uda.models.teacher import ReIDNetwork
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import PseudoLabelState, ReIDDataSample
from mmreid_uda.utils import InputError
from mmreid_uda.utils.values import Count

from .base import BaseReID, TestedFeature

__all__ = ["MeanTeacher", "MeanTeacherOutput", "mean_distance"]


class MeanTeacherOutput(NamedTuple):
    """What the networks say about the target images of the *global* batch."""

    students: list[BranchOutput]
    """Of each student, with gradient."""
    teachers: list[BranchOutput]
    """Of each teacher, in the same order, without."""


TestedNetwork = Literal["teacher", "student"] | Count
"""What gives the features that are tested: all teachers, the students, or one teacher by its number."""


class TestedTeacher(TestedFeature, total=False):
    """``test_cfg``: the feature, and the network that it comes from."""

    network: TestedNetwork


class MeanTeacher(BaseReID):
    """Students with classifiers, and one :class:`EMATeacher` for each (Tarvainen & Valpola, NeurIPS 2017).

    A sub-class says in :meth:`loss_target` who learns what from whom; its ``out`` is a :class:`MeanTeacherOutput`, and
    beside losses it may give ``diversity_supervision``, see :meth:`diversity`. The teachers give the features that are
    clustered and tested. The ``EMAHook`` moves the teachers after every optimiser step.

    Weights of a model with one plain encoder (source pre-training, names ``encoder.*``) load into every student and
    every teacher.

    Args:
        encoder: Config of the students' encoder, or a list with one for each student (other initial weights, or
            another architecture).
        head: Config of their ``ClassifierHead``.
        num_students: Number of students N. Defaults to 1.
        teacher: Config of the :class:`EMATeacher`: ``alpha``, ``warmup``, ``buffers``. Defaults to the papers'.
        test_cfg: As for :class:`BaseReID`, and ``network``: ``'teacher'`` (default; with several, the mean of their
            unit features), ``'student'``, or a number 1..N, which is that teacher alone.
        renormalize: Whether a mean of several unit features is scaled to unit norm before it is clustered. Defaults to
            True. Features that are tested always are.
        **kwargs: As for :class:`BaseReID`.

    Raises:
        InputError: For lists of the wrong length, or an unknown ``test_cfg.network``.
    """

    required_hooks: ClassVar = dict(
        # As released: the first epochs train on the few clusters there are.
        cluster=dict(type="ClusterHook", max_outlier_ratio=1.0),
        # A new Adam for the new classifier.
        optimizer_reset=dict(type="OptimizerResetHook", optional=True),
        ema=dict(type="EMAHook"),
        diversity=dict(type="DiversityHook", optional=True),
    )

    def __init__(
        self,
        encoder: dict[str, Any] | list[dict[str, Any]],
        head: dict[str, Any],
        num_students: int = 1,
        teacher: dict[str, Any] | None = None,
        test_cfg: TestedTeacher | None = None,
        renormalize: bool = True,
        **kwargs: Any,
    ) -> None:
        encoders = encoder if isinstance(encoder, list) else [encoder] * num_students
        if len(encoders) != num_students:
            raise InputError(
                f"found {len(encoders)} encoders (or runs in stage1) for {num_students} student(s), expected one or as "
                "many as model.num_students."
            )
        tested: dict[str, Any] = dict(test_cfg or {})
        self.network: TestedNetwork = tested.pop("network", "teacher")
        if self.network not in ("teacher", "student", *range(1, num_students + 1)):
            raise InputError(
                f"found model.test_cfg.network={self.network!r}, expected 'teacher', 'student' or the number of a "
                f"teacher, 1..{num_students}."
            )
        super().__init__(encoders[0], head, cast(TestedFeature, tested), **kwargs)
        self.students.extend(ReIDNetwork(one, head) for one in encoders[1:])
        self.teachers = ModuleList(
            MODELS.build({"type": "EMATeacher", "student": student, **(teacher or {})})
            for student in self.students
        )
        self.renormalize = renormalize

    def build_networks(self, encoder: dict[str, Any], head: dict[str, Any] | None) -> None:
        """Make the first student."""
        self.students = ModuleList([ReIDNetwork(encoder, head or {})])

    @property
    def encoder(self) -> Any:
        """The first student's encoder."""
        return self.students[0].encoder

    @property
    def head(self) -> Any:
        """The first student's head."""
        return self.students[0].head

    def init_weights(self) -> None:
        """Initialise the students; teachers start as their copies."""
        super().init_weights()
        for teacher, student in zip(self.teachers, self.students):
            teacher.copy_from(student)

    def update_teachers(self, step: int) -> None:
        """Move every teacher towards its student.

        Args:
            step: Number of the optimiser's step that was just done, 0-based.
        """
        for teacher, student in zip(self.teachers, self.students):
            teacher.update(student, step)

    # ---- features

    def _networks(self, network: TestedNetwork | None = None) -> list[nn.Module]:
        """The networks whose features are clustered and tested; None: as ``test_cfg.network`` says."""
        network = self.network if network is None else network
        if network == "student":
            return list(self.students)
        teachers = [teacher.module for teacher in self.teachers]
        return teachers if network == "teacher" else [teachers[network - 1]]

    def tested_encoders(self) -> list[nn.Module]:
        """Those of the teachers, or of the students or one teacher as ``test_cfg.network`` says."""
        return [network.encoder for network in self._networks()]  # type: ignore[misc]

    def extract_feat(self, inputs: Tensor, network: TestedNetwork | None = None) -> Tensor:
        """Features for clustering: the mean of the networks' unit features.

        Args:
            inputs: float (B, 3, H, W).
            network: ``'teacher'``, ``'student'`` or the number of a teacher. Defaults to ``test_cfg.network``.

        Returns:
            float32 (B, D); of unit norm for one network, and unless ``renormalize`` is False.
        """
        features = [
            F.normalize(self.features_of(one, inputs), dim=1) for one in self._networks(network)
        ]
        if len(features) == 1:
            return features[0]
        mean = torch.stack(features).mean(0)
        return F.normalize(mean, dim=1) if self.renormalize else mean

    def tested_feat(self, inputs: Tensor) -> Tensor:
        """As :meth:`BaseReID.tested_feat`: a mean of several teachers has unit norm here."""
        return F.normalize(self.extract_feat(inputs), dim=1)

    # ---- losses

    def loss(
        self, inputs: Tensor | tuple[Tensor, ...], data_samples: ReIDDataSample
    ) -> dict[str, Tensor]:
        """Run students and teachers over the batch and compute the losses of its target part.

        Args:
            inputs: float (B, 3, H, W), which all networks see; or one such view for each student and its teacher.
            data_samples: Annotations of the ``[source | target]`` batch. Source images, if there are any, take part in
                the batch statistics alone.

        Returns:
            Scalars by name: those of :meth:`loss_target` and :meth:`diversity`.

        Raises:
            InputError: If there are fewer views than students.
        """
        views = inputs if isinstance(inputs, tuple) else (inputs,) * len(self.students)
        if len(views) < len(self.students):
            raise InputError(
                f"found {len(views)} views of an image for {len(self.students)} students, expected one for each: set "
                "num_views of MultiView in train_pipeline."
            )
        num_source = data_samples.count_source()

        def run(network: Any, view: Tensor) -> BranchOutput:
            out = self.encode(network, view, num_source)
            return network.head(EncoderOutput(*(value[num_source:] for value in out)))

        students = [run(student, view) for student, view in zip(self.students, views)]
        with torch.no_grad():
            teachers = [run(teacher.module, view) for teacher, view in zip(self.teachers, views)]
        out = MeanTeacherOutput(students, teachers)
        return {**self.diversity(out), **self.loss_target(out, data_samples[num_source:])}

    @torch.no_grad()
    def diversity(self, out: MeanTeacherOutput) -> dict[str, Tensor]:
        """How far the networks are apart, the measure that ABMT argues with (WACV 2021); see :func:`mean_distance`.

        Args:
            out: What students and teachers say.

        Returns:
            ``diversity_teacher``: between a student and its own teacher. ``diversity_supervision``: between a student
            and what teaches it; the same, unless :meth:`loss_target` says otherwise. ``diversity_branches``: between
            the two branches of the teacher, or, of several single-branch networks, between the first two teachers;
            absent for one network with one branch.
        """
        own = mean_distance([(one.pooled, other.pooled) for one, other in zip(*out)])
        measures = dict(diversity_teacher=own, diversity_supervision=own)
        branches = torch.cat([teacher.pooled for teacher in out.teachers])
        if len(branches) > 1:
            measures["diversity_branches"] = mean_distance([(branches[0], branches[1])])
        return measures

    @torch.no_grad()
    def on_relabel(self, state: PseudoLabelState) -> None:
        """Give the classifiers of all students and teachers the same rows."""
        for network in (*self.students, *(teacher.module for teacher in self.teachers)):
            network.head.on_relabel(state)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Spread the encoder of a single network, if the checkpoint holds one, over all students and teachers."""
        single = f"{prefix}encoder."
        for name in [name for name in state_dict if name.startswith(single)]:
            tensor, rest = state_dict.pop(name), name.removeprefix(prefix)
            for number in range(len(self.students)):
                state_dict.setdefault(f"{prefix}students.{number}.{rest}", tensor)
                state_dict.setdefault(f"{prefix}teachers.{number}.module.{rest}", tensor)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


@torch.no_grad()
def mean_distance(pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Mean distance between unit vectors, over pairs of features and all their rows.

    Args:
        pairs: At least one; both of a pair (..., D), scaled to unit norm here.

    Returns:
        A scalar, float32, 0..2; without gradient.
    """
    units = (
        (F.normalize(one.float(), dim=-1), F.normalize(other.float(), dim=-1))
        for one, other in pairs
    )
    return torch.stack([(one - other).norm(dim=-1).mean() for one, other in units]).mean()
