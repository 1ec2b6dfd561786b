"""Released transformers, written once more and slowly, on the tensors of their own files."""

import math

import torch

erf_gelu = torch.nn.functional.gelu


def quick_gelu(x):
    return x / (1 + torch.exp(-1.702 * x))


def layer_norm(x, tensors, name, eps):
    mean = x.mean(-1, keepdim=True)
    variance = (x - mean).pow(2).mean(-1, keepdim=True)
    return (x - mean) / torch.sqrt(variance + eps) * tensors[f"{name}.weight"] + tensors[
        f"{name}.bias"
    ]


def linear(x, tensors, name):
    return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]


def attend(x, weight, bias, heads, added=None):
    """Softmax attention of (N, D), one head after the other; ``added[head]`` (N, N) is added to its logits."""
    width, parts = x.shape[1] // heads, []
    q, k, v = (x @ weight.T + bias).split(x.shape[1], dim=1)
    for head in range(heads):
        one = slice(head * width, (head + 1) * width)
        logits = q[:, one] @ k[:, one].T / math.sqrt(width)
        if added is not None:
            logits = logits + added[head]
        parts.append(torch.softmax(logits, dim=1) @ v[:, one])
    return torch.cat(parts, dim=1)


def embed_patches(image, weight, bias):
    """(N, D): each patch of (3, H, W), row by row, with each filter."""
    side, tokens = weight.shape[2], []
    for top in range(0, image.shape[1], side):
        for left in range(0, image.shape[2], side):
            patch = image[:, top : top + side, left : left + side]
            tokens.append((weight * patch).sum((1, 2, 3)) + bias)
    return torch.stack(tokens)


# Names inside a block: norms, attention's in and out, the two layers of the MLP.
TIMM = dict(
    block="blocks.{}", norms=("norm1", "norm2"), qkv="attn.qkv.", out="attn.proj", mlp=("mlp.fc1", "mlp.fc2"),
)  # fmt: skip
CLIP = dict(
    block="transformer.resblocks.{}", norms=("ln_1", "ln_2"), qkv="attn.in_proj_", out="attn.out_proj",
    mlp=("mlp.c_fc", "mlp.c_proj"),
)  # fmt: skip


def transform(x, tensors, names, depth, heads, activation, eps):
    """Tokens (N, D) through all blocks; a scale ``ls1.gamma`` behind a branch where the file has one."""
    for number in range(depth):
        block = names["block"].format(number)
        first, second = (f"{block}.{norm}" for norm in names["norms"])
        weight, bias = (tensors[f"{block}.{names['qkv']}{kind}"] for kind in ("weight", "bias"))
        branch = attend(layer_norm(x, tensors, first, eps), weight, bias, heads)
        branch = linear(branch, tensors, f"{block}.{names['out']}")
        x = x + branch * tensors.get(f"{block}.ls1.gamma", 1)
        branch = linear(layer_norm(x, tensors, second, eps), tensors, f"{block}.{names['mlp'][0]}")
        branch = linear(activation(branch), tensors, f"{block}.{names['mlp'][1]}")
        x = x + branch * tensors.get(f"{block}.ls2.gamma", 1)
    return x


def slow_vit(image, tensors, depth, heads):
    """The class token (D,) of TransReID-SSL's ViT, or of DINOv2 with registers, behind the last norm."""
    positions = tensors["pos_embed"][0]
    weight, bias = (tensors[f"patch_embed.proj.{kind}"] for kind in ("weight", "bias"))
    patches = embed_patches(image, weight, bias) + positions[1:]
    registers = tensors.get("register_tokens", torch.empty(1, 0, len(bias)))[0]
    x = torch.cat([tensors["cls_token"][0] + positions[:1], registers, patches])
    x = transform(x, tensors, TIMM, depth, heads, erf_gelu, 1e-6)
    return layer_norm(x, tensors, "norm", 1e-6)[0]


def slow_clip(image, tensors, depth, heads):
    """The class token (D,) of CLIP's visual transformer behind its last norm, and its projection (P,)."""
    patches = embed_patches(image, tensors["conv1.weight"], 0)
    x = torch.cat([tensors["class_embedding"][None], patches]) + tensors["positional_embedding"]
    x = layer_norm(x, tensors, "ln_pre", 1e-5)
    x = transform(x, tensors, CLIP, depth, heads, quick_gelu, 1e-5)
    token = layer_norm(x, tensors, "ln_post", 1e-5)[0]
    return token, token @ tensors["proj"]


def _window_bias(table, window):
    """(heads, window², window²): the entry of each pair's offset, rows first."""
    places = [(row, column) for row in range(window) for column in range(window)]
    side = 2 * window - 1
    index = torch.tensor(
        [[(a - c + window - 1) * side + (b - d + window - 1) for c, d in places] for a, b in places]
    )
    return table[index].permute(2, 0, 1)


def slow_solider(image, tensors, depths, heads, window=7):
    """The pooled feature (D,) of SOLIDER's Swin, without controller, for maps that windows fill."""
    weight, bias = (tensors[f"patch_embed.projection.{kind}"] for kind in ("weight", "bias"))
    size = image.shape[1] // 4
    x = layer_norm(embed_patches(image, weight, bias), tensors, "patch_embed.norm", 1e-5)
    for stage, depth in enumerate(depths):
        for number in range(depth):
            block = f"stages.{stage}.blocks.{number}"
            shift = window // 2 if number % 2 and size > window else 0
            y = layer_norm(x, tensors, f"{block}.norm1", 1e-5)
            y = _windows(y, tensors, f"{block}.attn.w_msa", size, window, shift, heads[stage])
            x = x + linear(y, tensors, f"{block}.attn.w_msa.proj")
            y = linear(
                layer_norm(x, tensors, f"{block}.norm2", 1e-5), tensors, f"{block}.ffn.layers.0.0"
            )
            x = x + linear(erf_gelu(y), tensors, f"{block}.ffn.layers.1")
        if stage < 3:
            maps, channels = x.reshape(size, size, -1), x.shape[1]
            merged = []
            for row in range(0, size, 2):
                for column in range(0, size, 2):
                    # Channel by channel, of each its four neighbors row by row.
                    four = maps[row : row + 2, column : column + 2].reshape(4, channels)
                    merged.append(four.T.reshape(-1))
            x = layer_norm(torch.stack(merged), tensors, f"stages.{stage}.downsample.norm", 1e-5)
            x = x @ tensors[f"stages.{stage}.downsample.reduction.weight"].T
            size //= 2
    return layer_norm(x, tensors, "norm3", 1e-5).mean(0)


def _windows(x, tensors, name, size, window, shift, heads):
    """Attention inside each window of the shifted map; patches that were not neighbors do not see each other."""
    bias = _window_bias(tensors[f"{name}.relative_position_bias_table"], window)
    out = torch.empty_like(x)
    for top in range(0, size, window):
        for left in range(0, size, window):
            rows = [
                (top + r + shift, left + c + shift) for r in range(window) for c in range(window)
            ]
            place = torch.tensor([(r % size) * size + c % size for r, c in rows])
            wrapped = torch.tensor([2 * (r >= size) + (c >= size) for r, c in rows])
            apart = torch.where(wrapped[:, None] == wrapped[None], 0.0, -100.0)
            weight, shifted = tensors[f"{name}.qkv.weight"], tensors[f"{name}.qkv.bias"]
            out[place] = attend(x[place], weight, shifted, heads, bias + apart)
    return out
