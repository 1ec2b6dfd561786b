"""Two real processes: gathered batches, gradients, rank 0's errors, disagreement."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from mmreid_uda.utils import InputError
from mmreid_uda.utils.dist import (
    all_gather_with_grad,
    assert_same_on_ranks,
    broadcast_buffers,
    gather_batch,
    gather_turns,
    on_every_rank,
    own_turns,
    run_on_rank0,
    share_from_rank0,
)

WEIGHT = torch.linspace(-1, 1, 12).view(4, 3)
INPUTS = torch.sin(torch.arange(24.0)).view(8, 3)


def global_loss(features):
    """A loss in which every image meets every other one."""
    features = F.normalize(features, dim=1)
    return (features @ features.t()).exp().log1p().mean()


def gathered_gradient(rank):
    layer = nn.Linear(3, 4, bias=False)
    layer.weight.data.copy_(WEIGHT)
    model = nn.parallel.DistributedDataParallel(layer)
    loss = global_loss(all_gather_with_grad(model(INPUTS[rank * 4 : rank * 4 + 4])))
    loss.backward()
    return loss.item(), layer.weight.grad.tolist()


# Losses that do not look at the logits: neck and classifier have nothing to learn.
WITHOUT_LOGITS = {
    "FAT": dict(terms="tri-mg", head=dict(type="FATHead")),
    "ClusterBaseline": dict(ce_weight=0.0, head=dict(type="ClassifierHead")),
}


def unclassified_gradients(rank):
    """The largest gradients of classifier and first layer, after a step that needs all gradients of the first one."""
    from mmreid_uda.registry import MODELS
    from mmreid_uda.structures import PseudoLabelState, ReIDDataSample

    labels, found = torch.arange(4) // 2, {}
    samples = ReIDDataSample(gt_label=labels, domain=torch.ones(4), sample_idx=torch.arange(4))
    for name, options in WITHOUT_LOGITS.items():
        backbone = dict(type="MobileNetV2", width_mult=0.1)
        encoder = dict(type="ReIDEncoder", backbone=backbone, norm=None)
        model = MODELS.build(dict(type=name, encoder=encoder, **options))
        model.on_relabel(PseudoLabelState(0, labels, torch.rand(4, model.encoder.embed_dim)))
        ranks = nn.parallel.DistributedDataParallel(model)
        for _ in range(2):
            images = torch.rand(4, 3, 64, 32)
            sum(ranks(images, samples, mode="loss").values()).backward()
        [classifier] = model.head.parameters()
        first = next(model.encoder.backbone.parameters())
        found[name] = classifier.grad.abs().max().item(), first.grad.abs().max().item()
    return found


def relabeled_steps(rank, world_size=2):
    """Two steps of ABMT with another number of clusters in each.

    The classifier's weight and its last gradient, how many numbers DDP reduces per step, and how many the encoder has.
    """
    from mmreid_uda.registry import MODELS
    from mmreid_uda.structures import PseudoLabelState, ReIDDataSample

    torch.manual_seed(0)
    encoder = dict(
        type="AsymmetricBranchEncoder",
        backbone=dict(type="MobileNetV2", width_mult=0.1),
        norm=None,
    )
    model = MODELS.build(dict(type="ABMT", encoder=encoder, head=dict(type="ClassifierHead")))
    model.init_weights()
    model.eval()  # the same features on any number of ranks
    ranks, reduced = model, []
    if world_size > 1:
        ranks = nn.parallel.DistributedDataParallel(model)
        ranks.register_comm_hook(reduced, counting_hook)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    share = slice(8 // world_size * rank, 8 // world_size * (rank + 1))
    for classes in (3, 2):
        labels = torch.arange(8) % classes
        generator = torch.Generator().manual_seed(classes)
        features = torch.randn(8, model.encoder.embed_dim, generator=generator)
        images = torch.randn(8, 3, 64, 32, generator=generator)
        model.on_relabel(PseudoLabelState(0, labels, features))
        samples = ReIDDataSample(gt_label=labels, domain=torch.ones(8), sample_idx=torch.arange(8))
        sum(ranks(images[share], samples[share], mode="loss").values()).backward()
        gradient = model.head.weight.grad.clone()
        optimizer.step()
        optimizer.zero_grad()
    learned = sum(p.numel() for p in model.encoder.parameters() if p.requires_grad)
    return model.head.weight.tolist(), gradient.tolist(), sum(reduced) / 2, learned


def counting_hook(reduced, bucket):
    reduced.append(bucket.buffer().numel())
    return allreduce_hook(None, bucket)


def gradients(rank):
    return gathered_gradient(rank), unclassified_gradients(rank), relabeled_steps(rank)


def test_two_ranks_have_the_loss_and_gradient_of_one(run_ranks):
    weight = WEIGHT.clone().requires_grad_()
    loss = global_loss(INPUTS @ weight.t())
    loss.backward()
    alone = relabeled_steps(0, world_size=1)
    for (other_loss, gradient), unclassified, relabeled in run_ranks(gradients):
        assert other_loss == pytest.approx(loss.item(), abs=1e-6)
        torch.testing.assert_close(torch.tensor(gradient), weight.grad, atol=1e-6, rtol=1e-5)
        for name, (classifier, backbone) in unclassified.items():
            assert classifier == 0 < backbone, name
        for found, expected in zip(relabeled[:2], alone[:2]):
            torch.testing.assert_close(
                torch.tensor(found), torch.tensor(expected), atol=1e-6, rtol=1e-4
            )
        assert relabeled[2] == relabeled[3], "rows of classifiers are in no message"


def everything_else(rank):
    found = {"order": gather_batch(torch.tensor([rank, rank + 10])).tolist()}
    found["rank0"] = run_on_rank0(lambda: f"made on {rank}")
    found["results"] = on_every_rank(lambda: 10 * rank)
    arrays = share_from_rank0(lambda: [np.arange(4).reshape(2, 2) + 9 * rank, np.array([not rank])])
    found["shared"] = [array.tolist() for array in arrays]
    parts = [
        torch.tensor(turn) for turn in own_turns([[[0, 1], [2, 3]], [[4, 5], [6, 7]], [[8, 9]]])
    ]
    found["turns"] = gather_turns(parts, 5, 2).tolist()
    module = nn.BatchNorm1d(2)
    for tensor in (module.running_mean, module.weight.data, module.bias.data):
        tensor.fill_(rank)
    module._ddp_params_and_buffers_to_ignore = ["weight"]
    broadcast_buffers(module)
    found["buffers"] = module.running_mean.tolist()
    found["apart"], found["reduced"] = module.weight.tolist(), module.bias.tolist()
    for name, function in dict(
        input=lambda: run_on_rank0(lambda: refuse(InputError)),
        other=lambda: run_on_rank0(lambda: refuse(RuntimeError)),
        every=lambda: on_every_rank(lambda: refuse(InputError) if rank else 0),
        differ=lambda: assert_same_on_ranks({"labels": torch.arange(3), "weights": rank}),
    ).items():
        try:
            function()
        except (InputError, RuntimeError) as error:
            found[name] = (type(error).__name__, str(error))
    return found


def refuse(kind):
    raise kind("not like this")


def test_ranks_share_values_and_errors(run_ranks):
    first, second = run_ranks(everything_else)
    assert first["order"] == second["order"] == [0, 10, 1, 11]
    assert first["rank0"] == second["rank0"] == "made on 0"
    assert second["buffers"] == second["apart"] == [0, 0]
    assert second["reduced"] == [1, 1], "DDP keeps these equal"
    assert first["input"] == second["input"] == ("InputError", "not like this")
    assert first["every"] == second["every"] == ("InputError", "not like this")
    assert first["results"] == second["results"] == [0, 10]
    assert first["shared"] == second["shared"] == [[[0, 1], [2, 3]], [True]]
    assert first["turns"] == second["turns"] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert second["other"] == ("RuntimeError", "rank 0 failed: not like this")
    for found in (first, second):
        assert found["differ"][0] == "InputError"
        assert found["differ"][1].startswith("weights on rank(s) [1] differs from rank 0")


def test_a_single_process_needs_no_group():
    features = torch.ones(2, 2, requires_grad=True)
    assert all_gather_with_grad(features) is features
    assert run_on_rank0(lambda: 3) == 3
    assert_same_on_ranks({"anything": 1})
