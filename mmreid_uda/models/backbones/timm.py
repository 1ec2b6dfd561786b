"""Any backbone of timm by name: convolutional networks and transformers, as feature maps or tokens."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mmreid_uda import compat
from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError, place_of
from mmreid_uda.utils.packages import import_package
from mmreid_uda.utils.values import Count, FractionBelowOne, ImageSize

from .staged import StagedBackbone

__all__ = ["TimmBackbone"]

# Without it, timm shrinks the windows, and their tables, to a map that is smaller: released weights would not fit.
_OF_FAMILY = {"swin_": {"always_partition": True}}
# What timm's constructors raise for an argument that they do not take, or for a size that does not fit.
_REFUSALS = (AssertionError, KeyError, RuntimeError, TypeError, ValueError)
# Widths of the outputs, in those of a token.
_WIDTHS = {"map": 1, "token": 1, "mean": 1, "token+mean": 2}


@MODELS.register_module()
class TimmBackbone(StagedBackbone):
    """A model of timm without its classifier: images to the last feature map, or to a vector of tokens.

    It is ``self.net``, with timm's tensor names (``net.blocks.0.attn.qkv.weight``). Nothing is downloaded: weights come
    from a file, by ``init_cfg``. The stride is the model's own.

    Stages are those that timm names: of a transformer the patch embedding with tokens and positions (0) and one for
    each block, the last one with the norm behind it; of a Swin or a convolutional network the stem and its stages.

    Attributes:
        net: timm's model.
        grid: Rows and columns of patches; None for models that give maps, and for those that do not tell.

    Args:
        name: As ``timm.create_model`` knows it, such as ``'vit_small_patch16_224'``, ``'convnext_tiny'``,
            ``'swin_tiny_patch4_window7_224'``, ``'vit_base_patch16_clip_quickgelu_224'``.
        img_size: Height and width of the images. Models with a table of positions take no other size. A recipe fills in
            its ``input_size``. Defaults to None: timm's.
        output: ``'map'`` (B, D, H', W'), of a transformer its patches; ``'token'`` (B, D), the class token; ``'mean'``
            (B, D) of the patches; ``'token+mean'`` (B, 2D). Convolutional networks and Swin give maps alone. Defaults
            to None: the map where there is one, else the class token, else the mean, whatever timm's classifier takes.
        drop_path: Largest rate at which residual branches are left out in training; it grows from 0 with the depth.
            Defaults to None: the model's, mostly 0.
        stride: Of the patches, less than their size: they overlap. Defaults to None: they do not.
        frozen_stages: See :class:`StagedBackbone`. Defaults to -1.
        norm_eval: See :class:`StagedBackbone`. Defaults to False.
        freeze_patch_embed: Whether the patch embedding does not learn. Defaults to False.
        init_cfg: mmengine's initialisation config, see :class:`PretrainedModule`.
        **kwargs: Passed to ``timm.create_model``. For ``swin_*``, ``always_partition`` is True unless given.

    Raises:
        InputError: timm is missing; the name is unknown; the model does not take an argument, or images of this size,
            or does not give this output; at a call, if the images are of another size.

    Example:
        >>> backbone = dict(type='TimmBackbone', name='vit_small_patch16_224', drop_path=0.1,
        ...                 init_cfg=dict(type='Pretrained', checkpoint='pretrained/vit_small_cfs_lup.pth'))
    """

    wrapped = "net"
    takes_more = True

    def __init__(
        self,
        name: str,
        img_size: ImageSize | None = None,
        output: Literal["map", "token", "mean", "token+mean"] | None = None,
        drop_path: FractionBelowOne | None = None,
        stride: Count | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        freeze_patch_embed: bool = False,
        init_cfg: dict | list[dict] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(frozen_stages, norm_eval, init_cfg)
        self.name = name
        self.freeze_patch_embed = freeze_patch_embed
        self.net: Any = _build(name, img_size, drop_path, kwargs)
        # Only some attend to prefix tokens (class, distillation, registers) and patches; the others give maps.
        self.num_prefix: int | None = getattr(self.net, "num_prefix_tokens", None)
        patches = getattr(self.net, "patch_embed", None)
        tokens = self.num_prefix is not None
        self.grid: tuple[int, int] | None = getattr(patches, "grid_size", None) if tokens else None
        self.img_size: tuple[int, ...] | None = getattr(patches, "img_size", None) or None
        if stride is not None:
            self._overlap(stride)
        elif self.grid is not None:
            self._require_whole_patches()
        self._choose(output or self._default_output())
        if freeze_patch_embed and patches is None:
            raise InputError(
                f"found freeze_patch_embed=True for {name}, which has no patch embedding: set frozen_stages=0 for its "
                "stem."
            )
        self.freeze()

    # ---- building

    def _default_output(self) -> str:
        if self.num_prefix is None:
            return "map"
        return "token" if getattr(self.net, "cls_token", None) is not None else "mean"

    def _choose(self, output: str) -> None:
        """Set what a call gives, and its width."""
        has_token = getattr(self.net, "cls_token", None) is not None
        if output != "map" and self.num_prefix is None:
            raise InputError(
                f"found output={output!r} for {self.name}, which gives a feature map: leave backbone.output out, and "
                "choose encoder.pool."
            )
        if "token" in output and not has_token:
            raise InputError(
                f"found output={output!r} for {self.name}, which has no class token: set backbone.output='mean' or "
                "'map'."
            )
        self.output = output
        width = self.net.num_features
        if self.num_prefix is None:
            width = getattr(self.net, "head_hidden_size", None) or width
        self.feat_dim = width * _WIDTHS.get(output, 1)

    def _require_whole_patches(self) -> None:
        """Refuse a size of which timm would leave a rim out, or that no patch fits."""
        sizes: Any = self.img_size
        patch = self.net.patch_embed.patch_size
        if sizes is not None and any(size % side for size, side in zip(sizes, patch)):
            fitting = [max(size // side, 1) * side for size, side in zip(sizes, patch)]
            larger = [-(-size // side) * side for size, side in zip(sizes, patch)]
            raise InputError(
                f"found images of {_by(sizes)} for {self.name}, whose patches are {_by(patch)}, expected multiples of "
                f"that: set input_size=({fitting[0]}, {fitting[1]}) or ({larger[0]}, {larger[1]})."
            )

    def _overlap(self, stride: int) -> None:
        """Let patches overlap: another stride, and a table with a position for each."""
        net, table = self.net, getattr(self.net, "pos_embed", None)
        if self.grid is None or self.img_size is None or table is None or hasattr(net, "rope"):
            raise InputError(
                f"found stride={stride} for {self.name}, expected a transformer with a table of positions, whose "
                "patches can overlap: leave backbone.stride out."
            )
        patches = net.patch_embed
        rows, columns = (
            (size - side) // stride + 1 for size, side in zip(self.img_size, patches.patch_size)
        )
        slots = table.shape[1] - patches.num_patches
        self.grid = patches.grid_size = (rows, columns)
        patches.num_patches = rows * columns
        patches.proj.stride = (stride, stride)
        positions = torch.empty(1, slots + patches.num_patches, table.shape[2])
        net.pos_embed = nn.Parameter(nn.init.trunc_normal_(positions, std=0.02))

    # ---- stages

    def stages(self) -> list[list[nn.Module | nn.Parameter]]:
        """Stem, then the stages or blocks as timm groups them; what belongs to none comes last.

        Raises:
            InputError: The model does not tell its stages.
        """
        if not hasattr(self.net, "group_matcher"):
            raise InputError(
                f"found {self.name}, which does not name its stages: leave frozen_stages and layer-wise rates out."
            )
        models = import_package("timm.models", f"the backbone {self.name!r}", "'mmreid_uda[timm]'")
        stage_of = models.group_parameters(self.net, self._matcher(), reverse=True)
        stages: list[list[nn.Module | nn.Parameter]] = [
            [] for _ in range(max(stage_of.values()) + 1)
        ]
        for name, parameter in self.net.named_parameters():
            stages[stage_of[name]].append(parameter)
        for name, module in self.net.named_modules():
            inner = {
                stage_of[f"{name}.{own}" if name else own] for own, _ in module.named_parameters()
            }
            if len(inner) == 1:
                stages[inner.pop()].append(module)
        return stages

    def _matcher(self) -> dict[str, Any]:
        """Which names belong to the stem, and which to each stage."""
        return self.net.group_matcher(coarse=True)

    def frozen_modules(self) -> list[nn.Module | nn.Parameter]:
        """What ``frozen_stages`` and ``freeze_patch_embed`` freeze."""
        parts = super().frozen_modules() if self.frozen_stages >= 0 else []
        return [*parts, self.net.patch_embed] if self.freeze_patch_embed else parts

    # ---- running

    def features(self, x: Tensor) -> Tensor:
        """Map images to what the last stage gives, normalised.

        Args:
            x: float (B, 3, H, W), normalised.

        Returns:
            Tokens (B, N, D), of which the first ``num_prefix`` are no patches; or a map in the model's layout.
        """
        return self.net.forward_features(x)

    def forward(self, x: Tensor) -> Tensor:
        """Map images to the chosen output.

        Args:
            x: float (B, 3, H, W), normalised.

        Returns:
            (B, feat_dim), or (B, feat_dim, H', W') with ``output='map'``.

        Raises:
            InputError: If the images are not of the size that the model is built for.
        """
        size = tuple(int(side) for side in x.shape[-2:])
        if self.img_size is not None and size != tuple(self.img_size):
            raise InputError(
                f"found images of {_by(size)}, {self.name} is built for {_by(self.img_size)}: set input_size="
                f"{size}, or encoder.backbone.img_size, to the size that the pipelines give."
            )
        features = self.features(x)
        if self.num_prefix is not None:
            return self.read(features)
        maps = self.net.forward_head(features)
        return maps.permute(0, 3, 1, 2) if _channels_last(self.net) else maps

    def read(self, tokens: Tensor) -> Tensor:
        """Take the chosen output out of the last tokens.

        Args:
            tokens: (B, N, D), as :meth:`features` gives them.

        Returns:
            As :meth:`forward`.
        """
        # Models that timm classifies by their mean have the norm behind it.
        norm = getattr(self.net, "fc_norm", None) or nn.Identity()
        patches = tokens[:, self.num_prefix :]
        if self.output == "map":
            return self.as_map(norm(patches))
        parts = {"token": tokens[:, 0], "mean": patches.mean(1)}
        return torch.cat([norm(parts[part]) for part in self.output.split("+")], dim=1)

    def as_map(self, patches: Tensor) -> Tensor:
        """Put the tokens of patches where the patches are.

        Args:
            patches: (B, rows · columns, D), without the tokens before them.

        Returns:
            (B, D, rows, columns).

        Raises:
            InputError: If the model does not tell its grid.
        """
        if self.grid is None or prod(self.grid) != patches.shape[1]:
            raise InputError(
                f"found {patches.shape[1]} patches of {self.name}, whose grid is {self.grid}: they make no map; set "
                "backbone.output='mean'."
            )
        return patches.transpose(1, 2).unflatten(2, self.grid)


def _by(size: Sequence[int]) -> str:
    return "×".join(str(side) for side in size)


def _channels_last(net: nn.Module) -> bool:
    return getattr(net, "output_fmt", "NCHW") == "NHWC"


def _build(
    name: str, img_size: Sequence[int] | None, drop_path: float | None, kwargs: dict[str, Any]
) -> nn.Module:
    """A model of timm without classifier and pooling, randomly initialised."""
    compat.shim_torchvision()  # which timm imports
    timm = import_package(
        "timm",
        f"the backbone {name!r}",
        "'mmreid_uda[timm]'",
        "choose the ResNet or MobileNetV2 of this package",
    )
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.partition('_')[0]}*")[:8]
        raise InputError(
            f"found the backbone name {name!r}, expected one of timm {timm.__version__}"
            f"{f', such as {chr(44).join(near)}' if near else ''}: change backbone.name (timm.list_models() names "
            "them all)."
        )
    cfg: Any = timm.get_pretrained_cfg(name)
    options: dict[str, Any] = dict(kwargs)
    for family, defaults in _OF_FAMILY.items():
        if name.startswith(family):
            options = {**defaults, **options}
    if img_size is not None and cfg is not None and cfg.fixed_input_size:
        options["img_size"] = tuple(img_size)
    if drop_path is not None:
        options["drop_path_rate"] = drop_path
    try:
        net = timm.create_model(name, pretrained=False, num_classes=0, **options)
        net.reset_classifier(0, "")
    except _REFUSALS as error:
        raise InputError(
            f"timm's {name} refuses {options} ({type(error).__name__} at {place_of(error)}: "
            f"{' '.join(str(error).split())}): correct the arguments of encoder.backbone, or input_size."
        ) from error
    return net
