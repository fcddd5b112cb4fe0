"""What a step of shared training descends."""

from collections.abc import Callable

import pytest
import torch

from eos.tasks.task import IGNORED
from eos.training.evaluation import compute, summed_nats
from search.nas.space import Space
from search.nas.supernet import Supernet
from search.nas.train import networks_of, sandwich
from search.space import Recipe

Spaces = Callable[..., tuple[Space, Recipe]]


@pytest.mark.parametrize("distil", [False, True])
def test_a_step_trains_a_largest_a_smallest_and_random_networks(spaces: Spaces, distil: bool) -> None:
    space, base = spaces("causal", supernet={"random": 2, "distil": distil})
    torch.manual_seed(0)
    supernet, batch = Supernet(space), space.task.train_batch(1, 0, 4)
    losses = [loss.item() for loss in sandwich(supernet, base.training, 7, batch)]
    assert supernet.architecture == supernet.usual
    networks = networks_of(space, 7)
    assert networks == networks_of(space, 7) != networks_of(space, 8)
    assert (networks[0].width, len(networks[0].layers)) == (32, 3)
    assert (networks[1].width, len(networks[1].layers)) == (16, 1)
    wanted = []
    taught = torch.empty(0)
    asked = batch.targets != IGNORED
    with torch.no_grad():
        for place, network in enumerate(networks):
            supernet.select(network)
            log = compute(supernet, batch, "float32").log_softmax(-1)[asked]
            taught = log.exp() if place == 0 else taught
            own = summed_nats(supernet, batch, "float32")
            wanted.append(-(taught * log).sum() if distil and place else own)
    assert losses == pytest.approx([loss.item() / len(networks) for loss in wanted], rel=1e-5)
