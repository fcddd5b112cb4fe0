"""The network that shares its weights: what is inside it is what stands alone."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from search.nas.architecture import Architecture, Layer
from search.nas.slices import Cut, head_axes
from search.nas.space import Space
from search.nas.supernet import Supernet
from search.space import Recipe

Spaces = Callable[..., tuple[Space, Recipe]]
#: Outputs of the same modules on the same numbers; the issue is where the numbers lie.
NEAR = 1e-6


@pytest.mark.parametrize(("case", "count"), [("causal", 120), ("classifier", 40), ("translation", 40)])
def test_a_network_inside_is_the_network_that_stands_alone(spaces: Spaces, case: str, count: int) -> None:
    space, _ = spaces(case)
    torch.manual_seed(0)
    supernet = Supernet(space).eval()
    draw, batch = np.random.default_rng(1), space.task.train_batch(1, 0, 2)
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        for _ in range(count):
            network = space.random(draw)
            supernet.select(network)
            inside = supernet(batch.inputs, **batch.arguments())
            alone = supernet.taken_out(network).eval()(batch.inputs, **batch.arguments())
            assert (inside - alone).abs().max() <= NEAR, network
            assert alone.abs().max() > 0.01


@pytest.mark.parametrize("case", ["causal", "translation"])
def test_blocks_computed_again_give_the_same_gradients_and_hold_less(spaces: Spaces, case: str) -> None:
    space, _ = spaces(case)
    batch, held, found = space.task.train_batch(1, 0, 2), [0, 0], []
    networks = [space.largest(np.random.default_rng(1)), space.smallest(np.random.default_rng(1))]
    for again in (False, True):
        torch.manual_seed(0)
        supernet = Supernet(space, recompute=again)

        def keep(x: torch.Tensor, again: bool = again) -> torch.Tensor:
            held[again] += x.nbytes
            return x

        for network in networks:
            supernet.select(network)
            with saved_tensors_hooks(keep, lambda x: x):
                loss = supernet(batch.inputs, **batch.arguments()).square().sum()
            loss.backward()
        found.append({name: each.grad for name, each in supernet.named_parameters() if each.grad is not None})
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(found[1][name], gradient) for name, gradient in found[0].items())
    assert held[1] < held[0] / 2


def test_every_weight_is_some_networks(spaces: Spaces) -> None:
    """Between them, networks give every shared weight a gradient, and of a mixer's matrices every number."""
    space, _ = spaces("causal", mixers={"softmax": "llama", "gla": "gla", "hgrn2": "hgrn2", "delta": "gated_deltanet"})
    supernet = Supernet(space)
    met = {name: torch.zeros_like(parameter, dtype=torch.bool) for name, parameter in supernet.named_parameters()}
    draw, batch = np.random.default_rng(0), space.task.train_batch(1, 0, 4)
    for _ in range(60):
        supernet.select(space.largest(draw))
        supernet.zero_grad()
        supernet(batch.inputs, **batch.arguments()).square().sum().backward()
        for name, parameter in supernet.named_parameters():
            if parameter.grad is not None:
                met[name] |= parameter.grad != 0
    unmet = [name for name, seen in met.items() if not seen.any()]
    assert unmet == []
    dead = [name for name, seen in met.items() if "mixer" in name and seen.dim() > 1 and not seen.all()]
    assert dead == []


def test_a_smaller_network_uses_the_weights_of_a_larger_one_and_no_others(spaces: Spaces) -> None:
    space, _ = spaces("causal")
    supernet = Supernet(space)
    small = Architecture(width=16, layers=(Layer(mixer="gla", heads=2, key_size=4, ratio=1),))
    large = Architecture(width=32, layers=(Layer(mixer="gla", heads=2, key_size=8, ratio=2),) * 2)
    other = Architecture(width=32, layers=(Layer(mixer="softmax", heads=2, key_size=None, ratio=2),))
    batch = space.task.train_batch(1, 0, 2)

    def outputs(network: Architecture) -> torch.Tensor:
        supernet.select(network)
        output: torch.Tensor = supernet(batch.inputs, **batch.arguments())
        return output

    with torch.no_grad():
        before = outputs(large), outputs(other)
        key = "blocks/0/mixer/gla/composition/expand/projection/weight"
        weight = supernet.weights[key]
        # heads of eight features each, of which the small network keeps the first four
        weight.view(2, -1, 32)[:, 8:] += 1
        assert not torch.equal(outputs(small), before[0])
        small_before = outputs(small)
        weight.view(2, -1, 32)[1, 4] += 1
        assert torch.equal(outputs(small), small_before)
        assert not torch.equal(outputs(large), before[0])
        assert torch.equal(outputs(other), before[1])


def test_heads_keep_their_channels() -> None:
    whole = torch.arange(32).reshape(16, 2)
    cut = Cut(shape=(6, 1), blocks=(2, 1), spans=(16, 1))
    assert cut.of(whole).flatten().tolist() == [0, 2, 4, 16, 18, 20]
    more = Cut(shape=(4, 2), blocks=(4, 1), spans=(8, 2))
    assert more.of(whole)[:, 0].tolist() == [0, 4, 8, 12]
    cut.put(-torch.ones(6, 1, dtype=whole.dtype), whole)
    assert (whole[:, 0] == -1).nonzero().flatten().tolist() == [0, 1, 2, 8, 9, 10]


def test_axes_of_heads_are_found(spaces: Spaces) -> None:
    space, _ = spaces("causal")
    found = {name: {key for key, axes in head_axes(mixer).items() if any(axes)} for name, mixer in space.mixers.items()}
    both = {"composition.input.weight", "composition.expand.projection.weight", "readout.output.weight"}
    for name in ("cosformer", "gla", "delta", "mamba2", "tnl"):
        assert both <= found[name], name
    assert head_axes(space.mixers["gla"])["readout.output.weight"] == (False, True)
    assert found["hyena"] == set()


def test_weights_that_layers_share_are_one(spaces: Spaces) -> None:
    space, _ = spaces("causal", mixers={"hgrn2": "hgrn2"})
    names = [name for name, _ in Supernet(space).named_parameters() if "bounds" in name]
    assert names == ["weights.shared/mixer/hgrn2/composition/oscillation/0/bounds"]
