"""What re-ID adds to a vision transformer: a convolutional stem, part tokens, an embedding of the camera."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError
from mmreid_uda.utils.values import Count, FractionBelowOne, ImageSize

from ..layers import IBN, CameraEmbedding
from .timm import TimmBackbone

__all__ = ["ConvStem", "ReIDViT"]

# Side of a patch of the image, and of its map in the stem.
_PATCH, _INNER = 16, 8
_WIDTHS = {"parts": 4, "parts-cat": 2, "parts-mean": 1}


class ConvStem(nn.Module):
    """Patches of a small convolutional network with IBN (ICS): 16×16 pixels to a token.

    Source: Luo et al., "Self-supervised pre-training for transformer-based person re-identification", 2021
    (TransReID-SSL). Tensor names are those of its released files.

    Args:
        img_size: Height and width of the images, multiples of 16.
        embed_dim: Dimension D of a token.
        width: Channels of the convolutions. Defaults to 64.

    Attributes:
        grid_size: Rows and columns of patches.
        num_patches: Their product N.
    """

    def __init__(self, img_size: Sequence[int], embed_dim: int, width: int = 64) -> None:
        super().__init__()
        self.img_size, self.patch_size = tuple(img_size), (_PATCH, _PATCH)
        self.grid_size = (img_size[0] // _PATCH, img_size[1] // _PATCH)
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        self.conv = nn.Sequential(
            nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
            IBN(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            IBN(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.proj = nn.Conv2d(width, embed_dim, _INNER, stride=_INNER)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        """Map images to tokens.

        Args:
            x: float (B, 3, H, W), normalised.

        Returns:
            (B, N, D), row by row.
        """
        return self.proj(self.conv(x)).flatten(2).transpose(1, 2)


@MODELS.register_module()
class ReIDViT(TimmBackbone):
    """A vision transformer of timm with what re-ID adds to it.

    * ``stem='ics'``: the convolutional stem of TransReID-SSL in place of the patch embedding.
    * ``part_tokens=3``: PASS's (Zhu et al., "PASS: part-aware self-supervised pre-training for person
      re-identification", ECCV 2022), behind the class token, each with a position of its own.
    * ``cameras``: :class:`~mmreid_uda.models.layers.CameraEmbedding` behind the positions (SIE).

    Without them it is :class:`TimmBackbone`. Tensor names inside ``net`` are those of the released files
    (``patch_embed.conv.0.weight``, ``part_token1``, ``cls_pos``, ...). With c, p1, p2, p3 the class and part tokens
    behind the last norm and q the mean of p1, p2, p3, further outputs are:

    ================ ======== ==============================================================
    ``'parts'``      (B, 4D)  ``[c, p1, p2, p3]``, for a neck of each
    ``'parts-cat'``  (B, 2D)  ``[c, q]``, PASS on Market-1501; the default with part tokens
    ``'parts-mean'`` (B, D)   ``(c + q) / 2``, PASS on MSMT17
    ================ ======== ==============================================================

    Attributes:
        camera_embedding: The embedding of the cameras, or None.

    Args:
        name: A vision transformer of timm with a table of positions and a class token. Defaults to
            ``'vit_small_patch16_224'``.
        img_size: As for :class:`TimmBackbone`.
        output: As for :class:`TimmBackbone`, or one of the above. Defaults to None.
        drop_path: As for :class:`TimmBackbone`.
        stride: As for :class:`TimmBackbone`; not with ``stem='ics'``.
        stem: ``'patch'`` or ``'ics'``. Defaults to ``'patch'``.
        part_tokens: 0 or 3. Defaults to 0.
        cameras: Number of cameras of the target, numbered from 0; its images alone have one. Defaults to None: no
            embedding.
        camera_coefficient: Its factor; 3 in TransReID and TMGF, 1 in CLIP-ReID. Defaults to 3.
        camera_tokens: What it is added to: ``'all'``, or ``'class'`` as in CLIP-ReID. Defaults to ``'all'``.
        **kwargs: As for :class:`TimmBackbone`.

    Raises:
        InputError: As for :class:`TimmBackbone`; the model is none of these transformers; an output is one of part
            tokens, which there are not; the stem is given with a stride or with patches of another size.

    Example:
        >>> backbone = dict(type='ReIDViT', name='vit_small_patch16_224', stem='ics', drop_path=0.3,
        ...                 init_cfg=dict(type='Pretrained', checkpoint='pretrained/vit_small_ics_cfs_lup.pth'))
    """

    fresh = ("camera_embedding.",)

    def __init__(
        self,
        name: str = "vit_small_patch16_224",
        img_size: ImageSize | None = None,
        output: Literal["map", "token", "mean", "token+mean", "parts", "parts-cat", "parts-mean"]
        | None = None,
        drop_path: FractionBelowOne | None = None,
        stride: Count | None = None,
        stem: Literal["patch", "ics"] = "patch",
        part_tokens: Literal[0, 3] = 0,
        cameras: Count | None = None,
        camera_coefficient: float = 3.0,
        camera_tokens: Literal["all", "class"] = "all",
        **kwargs: Any,
    ) -> None:
        if part_tokens:
            kwargs["no_embed_class"] = (
                True  # the class token has a position beside the table, as the parts have
            )
        super().__init__(name, img_size, drop_path=drop_path, stride=stride, **kwargs)
        net = self.net
        if not hasattr(net, "blocks") or any(
            getattr(net, part, None) is None for part in ("cls_token", "pos_embed")
        ):
            raise InputError(
                f"found the backbone {name} in a ReIDViT, expected a vision transformer of timm with a class token and "
                "a table of positions: change backbone.name, or take TimmBackbone."
            )
        if stem == "ics":
            if stride is not None or tuple(net.patch_embed.patch_size) != (_PATCH, _PATCH):
                raise InputError(
                    f"found stem='ics' for {name} with stride={stride}, expected patches of {_PATCH}×{_PATCH} without "
                    "overlap: leave backbone.stride out, and choose a patch16 model."
                )
            net.patch_embed = ConvStem(net.patch_embed.img_size, net.embed_dim)
        self.part_tokens = part_tokens
        if part_tokens:
            self._add_parts()
        elif output in _WIDTHS:
            raise InputError(
                f"found output={output!r} and part_tokens=0, expected part tokens for it: set backbone.part_tokens=3."
            )
        self.camera_embedding = (
            CameraEmbedding(cameras, net.embed_dim, camera_coefficient, camera_tokens)
            if cameras is not None
            else None
        )
        self._choose(output or ("parts-cat" if part_tokens else "token"))
        self.feat_dim *= _WIDTHS.get(self.output, 1)
        self.freeze()

    def _add_parts(self) -> None:
        """Give ``net`` the tokens of parts, and a position of each and of the class token."""
        numbers = range(1, self.part_tokens + 1)
        names = [f"part_token{part}" for part in numbers]
        for name in (*names, "cls_pos", *(f"part{part}_pos" for part in numbers)):
            start = torch.empty(1, 1, self.net.embed_dim)
            self.net.register_parameter(name, nn.Parameter(nn.init.trunc_normal_(start, std=0.02)))
        self.num_prefix = 1 + self.part_tokens

    def _matcher(self) -> dict[str, Any]:
        matcher = super()._matcher()
        return {**matcher, "stem": rf"{matcher['stem']}|part|cls_pos"}

    def embed(self, x: Tensor) -> Tensor:
        """Map images to the tokens that the first block takes.

        Args:
            x: float (B, 3, H, W), normalised.

        Returns:
            (B, N, D): class token, other tokens, patches; with positions and cameras.
        """
        net = self.net
        tokens = net.patch_embed(x)
        if self.part_tokens:
            numbers = range(1, self.part_tokens + 1)
            prefix = [net.cls_token + net.cls_pos]
            for part in numbers:
                prefix.append(
                    net.get_parameter(f"part_token{part}") + net.get_parameter(f"part{part}_pos")
                )
            prefixes = torch.cat(prefix, dim=1).expand(x.shape[0], -1, -1)
            tokens = net.pos_drop(torch.cat([prefixes, tokens + net.pos_embed], dim=1))
        else:
            tokens = net._pos_embed(tokens)
        if self.camera_embedding is not None:
            tokens = self.camera_embedding(tokens)
        return net.norm_pre(net.patch_drop(tokens))

    def features(self, x: Tensor) -> Tensor:
        """Map images to the last tokens.

        Args:
            x: float (B, 3, H, W), normalised.

        Returns:
            (B, N, D), behind the last norm.
        """
        return self.net.norm(self.net.blocks(self.embed(x)))

    def read(self, tokens: Tensor) -> Tensor:
        """Take the chosen output out of the last tokens.

        Args:
            tokens: (B, N, D), as :meth:`features` gives them.

        Returns:
            (B, feat_dim), or (B, feat_dim, H', W') with ``output='map'``.
        """
        if self.output not in _WIDTHS:
            return super().read(tokens)
        if self.output == "parts":
            return tokens[:, : self.num_prefix].flatten(1)
        whole, parts = tokens[:, 0], tokens[:, 1 : self.num_prefix].mean(1)
        if self.output == "parts-cat":
            return torch.cat([whole, parts], dim=1)
        return (whole + parts) / 2
