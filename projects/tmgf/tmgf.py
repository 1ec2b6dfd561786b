"""TMGF: camera proxies of a transformer's global feature, and of stripes of its patches.

Source: Li et al., "Transformer Based Multi-Grained Features for Unsupervised Person Re-Identification", WACVW 2023; all
but the architecture is as in its released code, and the losses are those of O2CAP (Wang et al., TIP 2022).

The last block of the transformer is there twice. One copy sees its patches in two stripes, the other in three; each
stripe is a feature that is trained like the global one, with a memory of its own, against the same proxies.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmreid_uda.models.algorithms import BaseReID
from mmreid_uda.models.backbones import ReIDViT
from mmreid_uda.models.encoders import EncoderOutput, ReIDEncoder
from mmreid_uda.models.losses import association_similarities, offline_loss, online_loss
from mmreid_uda.registry import MODELS
from mmreid_uda.structures import Extract, PseudoLabelState, ReIDDataSample, TrainingImages
from mmreid_uda.utils import InputError
from mmreid_uda.utils.dist import all_gather_with_grad, gather_batch
from mmreid_uda.utils.values import Count, Fraction, NonNegative


@MODELS.register_module()
class StripeEncoder(ReIDEncoder):
    """A vision transformer whose last block and norm are there once for each number of stripes.

    The first head is the backbone's own last block, the others are copies of it, with the same pre-trained weights. The
    global feature is the mean of their class tokens; a part is the mean of a stripe of patches of one head. Each has a
    neck of its own.

    In training both features are ``[global | part 1 | ...]``, (B, n D) with n = ``num_branches``; in evaluation the
    global one alone is computed, (B, D).

    Attributes:
        num_branches (int): n, one more than there are parts.

    Args:
        backbone: Config of a ``ReIDViT`` with ``output='token'``.
        stripes: Into how many stripes, one above the other, each head divides the patches. Defaults to (2, 3).
        neck: Config of each neck. Defaults to the BN-neck.
        norm: As for :class:`ReIDEncoder`.
        channels_last: As for :class:`ReIDEncoder`.
        init_cfg: As for :class:`ReIDEncoder`.

    Raises:
        InputError: The backbone is no such transformer, or its rows of patches cannot be divided so.
    """

    def __init__(
        self,
        backbone: dict[str, Any],
        stripes: Sequence[Count] = (2, 3),
        neck: dict[str, Any] | None = None,
        norm: dict[str, Any] | None = None,
        channels_last: bool = False,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(backbone, None, neck, None, channels_last, init_cfg)
        if not isinstance(self.backbone, ReIDViT) or self.backbone.output != "token":
            raise InputError(
                f"found the backbone {backbone} in a StripeEncoder, expected dict(type='ReIDViT', output='token', "
                "...): change encoder.backbone."
            )
        rows = self.backbone.grid[0]
        if any(rows % number for number in stripes):
            raise InputError(
                f"found stripes={tuple(stripes)} and {rows} rows of patches, expected numbers that divide these: "
                "change encoder.stripes or input_size."
            )
        self.stripes = tuple(stripes)
        net, dimension = self.backbone.net, self.feat_dim
        self.copies = nn.ModuleList(
            copy.deepcopy(nn.ModuleList([net.blocks[-1], net.norm])) for _ in stripes[1:]
        )
        self.part_necks = nn.ModuleList(
            MODELS.build({"in_channels": dimension, **(neck or {"type": "BNNeck"})})
            for _ in range(sum(stripes))
        )
        self.num_branches = 1 + len(self.part_necks)
        self.feat_dim, self.embed_dim = (
            self.num_branches * width for width in (dimension, self.embed_dim)
        )
        self.convert(norm)

    def init_weights(self) -> None:
        """Load the backbone, copy its last block and norm, then what is left (an ``init_cfg`` of the whole)."""
        if self.is_init:
            return
        self.backbone.init_weights()
        net = self.backbone.net
        for block, norm in self.copies:
            block.load_state_dict(net.blocks[-1].state_dict())
            norm.load_state_dict(net.norm.state_dict())
        super().init_weights()

    def tokens(self, x: Tensor) -> list[Tensor]:
        """Map images to the last tokens of each head.

        Args:
            x: float (B, 3, H, W), normalised.

        Returns:
            For each head (B, N, D), the class token first.
        """
        net = self.backbone.net
        shared = net.blocks[:-1](self.backbone.embed(x))
        heads = [(net.blocks[-1], net.norm), *self.copies]
        return [norm(block(shared)) for block, norm in heads]

    def branches(self, x: Tensor) -> EncoderOutput:
        """Map images to the features of all branches, also in evaluation.

        Args:
            x: float (B, 3, H, W), normalised.

        Returns:
            Pooled features and embeddings, (B, n D).
        """
        tokens, patches = self.tokens(x), []
        for own, number in zip(tokens, self.stripes):
            of_image = own[:, self.backbone.num_prefix :]
            patches += of_image.unflatten(1, (number, -1)).mean(2).unbind(1)
        pooled = [_class_token(tokens), *patches]
        necks = [self.neck, *self.part_necks]
        embedding = [neck(f) for neck, f in zip(necks, pooled)]
        return EncoderOutput(torch.cat(pooled, dim=1), torch.cat(embedding, dim=1))

    def forward(self, x: Tensor) -> EncoderOutput:
        """Map images to the features of all branches, in evaluation to the global ones.

        Args:
            x: float (B, 3, H, W), normalised.

        Returns:
            Pooled features and embeddings, (B, n D), in evaluation (B, D).
        """
        if self.training:
            return self.branches(x)
        f = _class_token(self.tokens(x))
        return EncoderOutput(f, self.neck(f))


def _class_token(tokens: list[Tensor]) -> Tensor:
    """Mean of the class tokens of all heads, (B, D)."""
    return torch.stack([own[:, 0] for own in tokens]).mean(0)


@MODELS.register_module()
class TMGF(BaseReID):
    """``L = L_off(0) + L_on(0) + w mean_{parts g > 0} (L_off(g) + L_on(g))``, means over the global batch.

    Branch 0 is the global feature. Proxies are those of its clusters, for all branches; rows, hardest others and online
    associations are each branch's own. Clustering and tests see the global feature alone.

    The encoder is a :class:`StripeEncoder`, the head a ``ClusterMemoryHead`` with a ``ProxyMemory`` of as many parts as
    the encoder has branches, and the batches are those of ``ProxyBalancedSampler``.

    Args:
        *args: As for :class:`BaseReID`.
        part_weight: w, at least 0. Defaults to 0.1.
        num_negatives: Hardest other proxies in L_off and L_on. Defaults to 50.
        num_positives: Cameras of which L_on takes the most similar proxy. Defaults to 3.
        fill_positives: Where there are fewer cameras, take other proxies as well, as the released code does. Defaults
            to False.
        image_weight: Share of the image's own similarities, beside those of its proxy, by which L_on chooses; in 0..1.
            Defaults to 0.15.
        **kwargs: As for :class:`BaseReID`.
    """

    required_hooks: ClassVar = dict(
        # As released, no share of outliers is too large.
        cluster=dict(type="ClusterHook", max_outlier_ratio=1.0)
    )

    def __init__(
        self,
        *args: Any,
        part_weight: NonNegative = 0.1,
        num_negatives: Count = 50,
        num_positives: Count = 3,
        fill_positives: bool = False,
        image_weight: Fraction = 0.15,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.part_weight, self.num_negatives = part_weight, num_negatives
        self.num_positives, self.fill_positives = num_positives, fill_positives
        self.image_weight = image_weight
        self._all_branches = torch.empty(0)

    def build_networks(self, encoder: dict[str, Any], head: dict[str, Any] | None) -> None:
        """Give the memory a part for each branch of the encoder."""
        super().build_networks(encoder, None)
        memory = dict(type="ProxyMemory", **{"num_parts": self.encoder.num_branches})
        head = dict(head or {"type": "ClusterMemoryHead"})
        head["memory"] = {**memory, **head.get("memory", {})}
        self.head = MODELS.build(head)

    def loss_target(self, out: EncoderOutput, samples: ReIDDataSample) -> dict[str, Tensor]:
        """``loss_offline`` and ``loss_online`` of the L2-normalised embeddings of all branches."""
        memory, index = self.head.memory, gather_batch(samples.sample_idx)
        proxies = memory.proxies[index]
        x = self.unit(all_gather_with_grad(out.embedding))
        similarities = x.transpose(0, 1) @ memory.parts.mT  # (n, B, P)
        logits = similarities / self.head.temperature
        offline = offline_loss(logits, proxies, memory.clusters, self.num_negatives)
        chosen_by = association_similarities(similarities, memory.parts, proxies, self.image_weight)
        online = online_loss(
            logits,
            chosen_by,
            memory.cameras,
            self.num_positives,
            self.num_negatives,
            self.fill_positives,
        )
        self.remember(memory.update, x.flatten(1), gather_batch(samples.gt_label), index)
        whole, parts = torch.stack([offline, online]).mean(2).split([1, len(x[0]) - 1], dim=1)
        losses = whole[:, 0] + self.part_weight * parts.mean(1)
        return dict(loss_offline=losses[0], loss_online=losses[1])

    def unit(self, embedding: Tensor) -> Tensor:
        """Embeddings of all branches, (B, n D), as unit vectors, (B, n, D)."""
        return F.normalize(embedding.unflatten(1, (self.head.memory.num_parts, -1)), dim=2)

    def cluster_features(self, extract: Extract, images: TrainingImages) -> Tensor:
        """The global feature; those of the parts are kept for the memory."""
        found = extract(
            lambda inputs: self.features_of(self.encoder.branches, inputs), images.target
        )
        features = self.unit(found)
        self._all_branches = features.flatten(1)
        return features[:, 0]

    def on_relabel(self, state: PseudoLabelState) -> None:
        """A new memory of all branches."""
        super().on_relabel(replace(state, features=self._all_branches))
        self._all_branches = torch.empty(0)
