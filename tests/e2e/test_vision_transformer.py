"""A vision transformer trains ISE on rendered people, resumes bit for bit, is exported, searches, shows attention."""

import pytest
import torch
from deployment import call_tool
from same_state import assert_same_run

from mmreid_uda.apis import ReIDInferencer

pytestmark = pytest.mark.slow

# Everything that the transformer has of its own: stem, part tokens, cameras, drop path, layer-wise rates.
EXTRA = """
encoder["backbone"] = dict(
    stem="ics", part_tokens=3, cameras=6, depth=2, embed_dim=48, num_heads=3, drop_path=0.2
)
optim_wrapper = dict(
    constructor="LayerDecayOptimWrapperConstructor", paramwise_cfg=dict(decay_rate=0.8)
)
"""
STOP = """
custom_imports = dict(imports=["tests.e2e.stop_hook"])
custom_hooks = [dict(type="StopAfterEpoch", epoch=2)]
"""


def test_a_transformer_trains_resumes_is_exported_and_searches(
    tiny, run_tool, tmp_path, results, crops
):
    base = "configs/ise/ise_vit-t_synthb.py"
    config, stop = tiny(base, EXTRA), tiny(base, EXTRA + STOP, name="stopped")
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    run_tool("tools/train.py", config, "--work-dir", whole, "--amp")
    status, _ = run_tool("tools/train.py", stop, "--work-dir", halves, "--amp", check=False)
    assert status != 0
    run_tool("tools/train.py", config, "--work-dir", halves, "--amp", "--resume")
    assert_same_run(whole / "epoch_4.pth", halves / "epoch_4.pth", 4)
    assert results(whole) == results(halves)

    first, last = (
        torch.load(whole / f"epoch_{epoch}.pth", weights_only=False)["state_dict"]
        for epoch in (1, 4)
    )
    for name in ("camera_embedding.weight", "net.part_token2", "net.patch_embed.conv.0.weight"):
        name = f"encoder.backbone.{name}"
        assert not torch.equal(first[name], last[name]), name

    pytest.importorskip("onnxruntime")
    graph = tmp_path / "model.onnx"
    call_tool("tools/deploy/export.py", config, whole, graph, "--verify", *crops[:4])
    assert graph.is_file()
    inferencer = ReIDInferencer(config, whole, "cpu")
    inferencer.build_gallery(crops)
    [matches] = inferencer.search(crops[0], topk=3)
    assert matches[0].path == str(crops[0]) and matches[0].similarity == pytest.approx(1)
    picture = tmp_path / "attention.png"
    call_tool("tools/visualization/activation_maps.py", config, whole, *crops[:2], "--out", picture)
    assert picture.is_file()
