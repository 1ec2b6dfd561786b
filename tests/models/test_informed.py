"""Layers that are told of every batch are found, however they were made."""

import copy
import pickle

from torch import nn

from mmreid_uda.models.layers.informed import InformedLayer, informed_layers


class Told(InformedLayer):
    pass


class ToldMore(Told):
    pass


class Copied(InformedLayer):
    pass


class Unpickled(InformedLayer):
    pass


def test_a_tree_is_searched_once_a_layer_of_the_class_or_below_it_was_made():
    tree = nn.Sequential(nn.Linear(2, 2), nn.Sequential(ToldMore()))
    assert informed_layers(tree, Told) == [tree[1][0]] == informed_layers(tree, ToldMore)
    assert not InformedLayer.made and not Copied.made


def test_without_a_layer_nothing_is_searched():
    class Unsearchable(nn.Module):
        def modules(self):
            raise AssertionError("searched")

    class NeverMade(InformedLayer):
        pass

    assert informed_layers(Unsearchable(), NeverMade) == []


def test_copies_and_what_is_unpickled_count_as_made():
    for kind, again in (
        (Copied, copy.deepcopy),
        (Unpickled, lambda one: pickle.loads(pickle.dumps(one))),
    ):
        layer = kind()
        kind.made = False
        other = again(layer)
        assert kind.made and informed_layers(nn.Sequential(other), kind) == [other]
