"""Released transformers into modules: every layout, what is missing, what differs."""

import argparse

import pytest
import torch
from transformer_files import (
    batch_norm,
    clip_shapes,
    filled,
    linear,
    prefixed,
    save,
    vit_shapes,
)

from mmreid_uda.checkpoint import convert_layout, resize_positions
from mmreid_uda.models.backbones import ReIDViT, ResNet
from mmreid_uda.models.encoders import ReIDEncoder
from mmreid_uda.models.weights import load_pretrained
from mmreid_uda.registry import MODELS
from mmreid_uda.utils import InputError

SMALL = dict(embed_dim=32, num_heads=2, img_size=(256, 128))
TINY_WIDTH, TINY_DEPTH = 32, 2


def tiny_config(**options):
    """A small ReIDViT of ``vit_small_patch16_224``."""
    return dict(type="ReIDViT", **{**SMALL, "depth": TINY_DEPTH, **options})


def tiny_vit(**options):
    return MODELS.build(tiny_config(**options))


def tiny_encoder(**options):
    return ReIDEncoder(tiny_config(**options))


def tiny_file(seed=0, **options):
    return filled(vit_shapes(width=TINY_WIDTH, depth=TINY_DEPTH, **options), seed)


NECK = filled(batch_norm("bottleneck", TINY_WIDTH), 1)
CLASSIFIER = {"classifier.weight": torch.ones(7, TINY_WIDTH)}


def dino_training(tensors):
    """What DINO's own training writes; the teacher's backbone is the model."""
    student = prefixed("module.backbone.", {name: value + 9 for name, value in tensors.items()})
    head = filled(linear("head.mlp.0", 8, TINY_WIDTH) | linear("head.last_layer", 4, 8), 2)
    return dict(
        student=student,
        teacher=prefixed("backbone.", tensors) | head,
        optimizer={"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]},
        epoch=100,
        args=argparse.Namespace(arch="vit_small", lr=5e-4),
        dino_loss={"center": torch.zeros(1, 8)},
    )


FILES = {
    "bare": lambda tensors: tensors,
    "model": lambda tensors: dict(model=tensors, epoch=3),
    "state_dict + module.": lambda tensors: dict(state_dict=prefixed("module.", tensors), epoch=3),
    "teacher + backbone.": lambda tensors: dict(teacher=prefixed("backbone.", tensors)),
    "teacher + module.backbone.": lambda tensors: dict(
        teacher=prefixed("module.backbone.", tensors)
    ),
    "supervised": lambda tensors: prefixed("base.", tensors) | NECK | CLASSIFIER,
    "DINO training": dino_training,
    "DataParallel, supervised": lambda tensors: prefixed(
        "module.", prefixed("base.", tensors) | NECK | CLASSIFIER
    ),
}


@pytest.mark.parametrize("file", FILES)
def test_every_layout_of_transreid_ssl_fills_the_backbone(file, tmp_path):
    tensors = tiny_file()
    path = save(tmp_path / "weights.pth", FILES[file](tensors))
    backbone = tiny_vit()
    report = load_pretrained(backbone, path)
    assert report.loaded == len(tensors) == len(backbone.state_dict()) == 30
    assert report.missing == report.unexpected == report.resized == []
    assert report.layout == "vit"
    for name, tensor in tensors.items():
        assert torch.equal(backbone.net.state_dict()[name], tensor), name
    # Of a whole encoder the same, and the neck if the file has one.
    encoder = tiny_encoder()
    report = load_pretrained(encoder, path)
    assert torch.equal(encoder.backbone.net.norm.weight, tensors["norm.weight"])
    if "supervised" in file:
        assert report.loaded == 35 and report.missing == report.unexpected == []
        running = encoder.neck.bn.running_mean
        assert torch.equal(running, NECK["bottleneck.running_mean"])
    else:
        assert report.loaded == 30 and report.unexpected == []
        assert sorted(report.missing) == [
            f"neck.bn.{name}" for name in ("bias", "running_mean", "running_var", "weight")
        ]


def test_the_full_size_holds_150_of_155(tmp_path):
    """ViT-S/16 with its BN-neck: a bare file fills all but the neck's 5."""
    encoder = ReIDEncoder(dict(type="ReIDViT", img_size=(256, 128)))
    zeros = {name: torch.zeros(1).expand(shape) for name, shape in vit_shapes().items()}
    report = load_pretrained(encoder, save(tmp_path / "vit_small.pth", zeros))
    assert len(encoder.state_dict()) == 155
    assert report.loaded == 150 and len(report.missing) == 4  # the counter is not worth a word
    assert not encoder.backbone.net.blocks[11].mlp.fc2.weight.any()


def test_an_own_checkpoint_loads_with_the_level_of_the_wrapped_model(tmp_path):
    torch.manual_seed(0)
    encoder = tiny_encoder()
    path = save(tmp_path / "run.pth", dict(state_dict=prefixed("encoder.", encoder.state_dict())))
    for fresh, count in ((tiny_encoder(), 35), (tiny_vit(), 30)):
        report = load_pretrained(fresh, path)
        assert report.loaded == count and report.layout == "plain"
        assert report.missing == report.unexpected == []
    assert torch.equal(fresh.net.pos_embed, encoder.backbone.net.pos_embed)
    # Two students fit equally well, until one is chosen.
    pair = prefixed("students.0.", encoder.state_dict())
    pair |= prefixed("students.1.", tiny_encoder().state_dict())
    path = save(tmp_path / "pair.pth", dict(state_dict=pair))
    with pytest.raises(InputError, match=r"'students\.0\.backbone\.', 'students\.1\.backbone\.'"):
        load_pretrained(tiny_vit(), path)
    report = load_pretrained(fresh, path, prefix="students.1.backbone.net")
    assert torch.equal(fresh.net.pos_embed, pair["students.1.backbone.net.pos_embed"])


def test_positions_of_another_grid_are_resized_and_reported(tmp_path):
    ramp = torch.arange(196).float()[None, :, None].expand(1, 196, TINY_WIDTH)
    tensors = tiny_file(patches=196) | {"pos_embed": torch.cat([-ramp[:, 1:2], ramp], dim=1)}
    path = save(tmp_path / "square.pth", tensors)
    backbone = tiny_vit()
    report = load_pretrained(backbone, path)
    assert report.resized == ["net.pos_embed"] and not report.missing
    table = backbone.net.pos_embed[0, :, 5].detach()
    assert table[0] == -1
    places = [0, 7, 8 + 1, 5 * 8 + 3, 15 * 8 + 7]
    expected = [0.375, 12.625, 13.5, 66.0, 194.625]
    assert table[1:][places].tolist() == pytest.approx(expected, abs=1e-5)
    load_pretrained(backbone, path, interpolation="bicubic")
    assert backbone.net.pos_embed[0, 10, 5].item() == pytest.approx(12.574585, abs=1e-5)
    # A grid that no usual image has must be given.
    odd = save(tmp_path / "odd.pth", tiny_file(patches=7 * 9))
    with pytest.raises(InputError, match=r"63 positions.*init_cfg\.grid"):
        load_pretrained(backbone, odd)
    assert load_pretrained(backbone, odd, grid=(9, 7)).resized


def test_what_differs_is_named(tmp_path):
    path = save(tmp_path / "small.pth", tiny_file())
    wider = tiny_vit(embed_dim=48)
    with pytest.raises(InputError, match=r"shape \(1, 1, 32\).* \(1, 1, 48\) \(width 32, not 48\)"):
        load_pretrained(wider, path)
    patches = tiny_vit(name="vit_small_patch32_224")
    with pytest.raises(InputError, match=r"patch size 16×16, not 32×32"):
        load_pretrained(patches, path)
    with pytest.raises(InputError, match=r"lacks 12 of the 42 tensors of ReIDViT, net\.blocks\.2"):
        load_pretrained(tiny_vit(depth=3), path)
    # The other way round nothing is missing, but said.
    assert len(load_pretrained(tiny_vit(depth=1), path).unexpected) == 12


def test_a_network_of_another_kind_is_named(tmp_path):
    path = save(tmp_path / "ics.pth", tiny_file(stem="ics"))
    words = r"stem='ics', has 'patch_embed\.conv\.0\.weight', and ReIDViT has not"
    with pytest.raises(InputError, match=words):
        load_pretrained(tiny_vit(), path)
    path = save(tmp_path / "pass.pth", tiny_file(part_tokens=3))
    with pytest.raises(InputError, match=r"part_tokens=3, has 'part_token1', and ReIDViT has not"):
        load_pretrained(tiny_vit(), path)
    path = save(tmp_path / "vit.pth", tiny_file())
    for options in (dict(stem="ics"), dict(part_tokens=3)):
        with pytest.raises(InputError, match=r"a vision transformer under timm's names"):
            load_pretrained(tiny_vit(**options), path)
    with pytest.raises(InputError, match=r"has 'blocks\.0\.attn\.qkv\.weight', and ResNet has not"):
        load_pretrained(ResNet(18), path)
    clip = save(tmp_path / "clip.pth", filled(clip_shapes(32, 2)))
    with pytest.raises(InputError, match=r"CLIP's .* holds none of the 120 tensors of ResNet"):
        load_pretrained(ResNet(18), clip)


def test_a_layout_can_be_forced_and_a_file_of_none_is_refused(tmp_path):
    path = save(tmp_path / "weights.pth", tiny_file())
    assert load_pretrained(tiny_vit(), path, layout="vit").loaded == 30
    assert load_pretrained(tiny_vit(), path, layout="plain").layout == "plain"
    with pytest.raises(InputError, match=r"layout='clip'.*such as 'vit'"):
        load_pretrained(tiny_vit(), path, layout="clip")
    with pytest.raises(InputError, match=r"layout='clipp' .*expected 'auto', "):
        load_pretrained(tiny_vit(), path, layout="clipp")
    nothing = save(tmp_path / "nothing.pth", {"teacher": {"head.weight": torch.zeros(2, 2)}})
    with pytest.raises(InputError, match="holds none of the 30 tensors of ReIDViT"):
        load_pretrained(tiny_vit(), nothing)


def test_cameras_of_ones_own_may_be_missing(tmp_path, monkeypatch):
    path = save(tmp_path / "weights.pth", tiny_file())
    assert load_pretrained(tiny_vit(cameras=6), path).missing == ["camera_embedding.weight"]
    missing = load_pretrained(tiny_encoder(cameras=6), path).missing
    assert "backbone.camera_embedding.weight" in missing and len(missing) == 5
    monkeypatch.setattr(ReIDViT, "fresh", ())
    with pytest.raises(InputError, match=r"lacks 1 of the 31 .*camera_embedding\.weight"):
        load_pretrained(tiny_vit(cameras=6), path)


@pytest.mark.parametrize(
    "options, entries, parameters",
    [
        (dict(), 155, 21_640_320),
        (dict(stem="ics"), 177, 23_001_792),
        (dict(part_tokens=3, output="parts-cat"), 162, 21_643_392),
        (dict(part_tokens=3, output="parts-mean"), 162, 21_642_624),
    ],
)
def test_full_sizes_have_the_entries_of_the_released_files(options, entries, parameters, tmp_path):
    """METHODS2 §3.3, necks included; a bare file fills all but the neck's five."""
    with torch.device("meta"):
        encoder = ReIDEncoder(dict(type="ReIDViT", img_size=(256, 128), **options))
    assert len(encoder.state_dict()) == entries
    assert sum(parameter.numel() for parameter in encoder.parameters()) == parameters
    file = {k: v for k, v in options.items() if k != "output"}
    names = {f"backbone.net.{name}": shape for name, shape in vit_shapes(**file).items()}
    own = {n: tuple(t.shape) for n, t in encoder.state_dict().items() if n.startswith("backbone.")}
    assert own == names and len(own) == entries - 5


@pytest.mark.parametrize("options", [dict(stem="ics"), dict(part_tokens=3)])
def test_files_with_the_ics_stem_and_of_pass_fill_reid_vit(options, tmp_path):
    tensors = tiny_file(**options)
    file = prefixed("module.", prefixed("base.", tensors) | NECK)
    path = save(tmp_path / "weights.pth", file)
    backbone = tiny_vit(**options)
    report = load_pretrained(backbone, path)
    assert report.layout == {"ics": "ics", 3: "pass"}[next(iter(options.values()))]
    assert report.loaded == len(tensors) == len(backbone.state_dict())
    assert report.missing == report.unexpected == report.resized == []
    for name, tensor in tensors.items():
        assert torch.equal(backbone.net.state_dict()[name], tensor), name
    # Larger images: PASS's table has no slot of the class token.
    larger = tiny_vit(img_size=(384, 128), **options)
    assert load_pretrained(larger, path).resized == ["net.pos_embed"]
    slots = tensors["pos_embed"].shape[1] - 128
    expected = resize_positions(tensors["pos_embed"], (24, 8), slots, (16, 8))
    assert torch.equal(larger.net.pos_embed, expected)


def test_overlapping_patches_have_a_position_each(tmp_path):
    path = save(tmp_path / "weights.pth", tiny_file())
    backbone = tiny_vit(stride=12)
    assert load_pretrained(backbone, path).resized == ["net.pos_embed"]
    assert backbone.net.pos_embed.shape == (1, 1 + 21 * 10, TINY_WIDTH)


def test_init_cfg_of_a_backbone_begins_with_a_fresh_neck_that_of_an_encoder_takes_it_along(
    tmp_path,
):
    path = save(tmp_path / "transformer_120.pth", FILES["supervised"](tiny_file()))
    source = dict(type="Pretrained", checkpoint=path)
    fresh = ReIDEncoder(tiny_config(init_cfg=source))
    whole = ReIDEncoder(tiny_config(), init_cfg=source)
    for encoder in (fresh, whole):
        encoder.init_weights()
        assert torch.equal(encoder.backbone.net.norm.bias, tiny_file()["norm.bias"])
    assert torch.equal(fresh.neck.bn.weight, torch.ones(TINY_WIDTH))
    assert torch.equal(whole.neck.bn.weight, NECK["bottleneck.weight"])


def test_the_four_necks_of_pass_go_to_four_necks():
    necks = [filled(batch_norm(f"bottleneck{part}", 4), 1) for part in ("", "_pt1", "_pt2", "_pt3")]
    file = tiny_file(part_tokens=3) | {k: v for neck in necks for k, v in neck.items()}
    _, renamed = convert_layout(prefixed("module.", file))
    for number, neck in enumerate(necks):
        for name, tensor in neck.items():
            ours = f"neck.necks.{number}.bn.{name.rpartition('.')[2]}"
            assert torch.equal(renamed.pop(ours), tensor)
    assert all(name.startswith("backbone.") for name in renamed)
