"""Products of transitions: every ordered pair of parts against products of dense matrices, or its refusal."""

import itertools
import random
import re

import pytest
import torch

from eos.errors import RecordError
from eos.record import Transition
from tests.compare import relative_error
from tests.naive.operator import factor, operator
from tests.tolerances import EXACT
from tests.transitions import PAGE, PARTS, REASONS, SHAPE, named, page, part

OVER_VALUE = ["value", "rate × step", "rate × step, K/2", "log_sigmoid", "phase over V", "phase_rate × step"]
LOG_GATES = ["log_gate, sum", "log_gate, max"]
TURNING = ["phase", "phase over V", "phase_rate × step"]
UNTIED = ["key", "rate × step"]

#: What is refused, in either order, with the words of :data:`REASONS` that its message holds.
REFUSALS: dict[frozenset[str], str] = {
    frozenset({"erase"}): "two erases do not multiply",
    **{frozenset({"erase", name}): "erase does not multiply with" for name in OVER_VALUE},
    **{frozenset({"erase", name}): "log_gate cannot stand with" for name in LOG_GATES},
    **{frozenset(pair): "log_gate cannot stand with" for pair in itertools.product(OVER_VALUE, LOG_GATES)},
    frozenset(LOG_GATES): "log_gates with stabilise",
    **{frozenset(pair): "tied in pairs" for pair in itertools.product(TURNING, UNTIED)},
    **{frozenset({"log_sigmoid", name}): "different links" for name in ("rate × step", "rate × step, K/2")},
    **{frozenset(pair): "(as " for pair in itertools.product(UNTIED, ("key, K/2", "rate × step, K/2"))},
}
pytestmark = pytest.mark.usefixtures("one_thread")
PAIRS = list(itertools.product(PARTS, PARTS))


def dense(transition: Transition) -> tuple[torch.Tensor, torch.Tensor]:
    """ψ as a matrix, and the factor on a write."""
    parts = named(transition)
    psi = operator(parts, SHAPE, link=transition.link, tau=transition.tau)
    return psi, factor(parts, SHAPE)


def assert_same(got: Transition, psi: torch.Tensor, write: torch.Tensor) -> None:
    product, gate = dense(got)
    assert relative_error(product, psi) <= EXACT
    assert relative_error(gate, write) <= EXACT


@pytest.mark.parametrize(("left", "right"), [pair for pair in PAIRS if frozenset(pair) not in REFUSALS])
def test_product_is_the_product_of_matrices(left: str, right: str) -> None:
    first, second = part(left, 1), part(right, 2)
    (psi, write), (other, factor) = dense(first), dense(second)
    product = first * second
    assert_same(product, psi @ other, write * factor)
    assert product.stabilise == (first.stabilise or second.stabilise)


@pytest.mark.parametrize(("left", "right"), [pair for pair in PAIRS if frozenset(pair) in REFUSALS])
def test_refused_product_says_why(left: str, right: str) -> None:
    words = REFUSALS[frozenset({left, right})]
    assert words in REASONS
    with pytest.raises(RecordError, match=re.escape(words)):
        part(left, 1) * part(right, 2)


def triples() -> list[tuple[str, str, str]]:
    """Two hundred of all ordered triples, and all that hold an erase between parts that turn it."""
    turning = ["head", "key", "key, K/2", "phase"]
    drawn = random.Random(0).sample(list(itertools.product(PARTS, repeat=3)), 200)
    return sorted({*drawn, *((x, "erase", y) for x in turning for y in turning)})


@pytest.mark.parametrize("names", triples(), ids=", ".join)
def test_product_is_associative(names: tuple[str, str, str]) -> None:
    first, second, third = (part(name, seed) for seed, name in enumerate(names))
    if any(frozenset(pair) in REFUSALS for pair in itertools.combinations(names, 2)):
        for product in (lambda: (first * second) * third, lambda: first * (second * third)):
            with pytest.raises(RecordError):
                product()
        return
    right = dense(first * (second * third))
    assert_same((first * second) * third, *right)
    (a, x), (b, y), (c, z) = dense(first), dense(second), dense(third)
    assert relative_error(right[0], a @ b @ c) <= EXACT
    assert relative_error(right[1], x * y * z) <= EXACT


def test_the_empty_transition_is_one() -> None:
    for name in PARTS:
        transition = part(name)
        psi, write = dense(transition)
        assert_same(transition * Transition(), psi, write)
        assert_same(Transition() * transition, psi, write)
        assert (Transition() * transition).link == transition.link


def test_same_links_with_other_taus_are_refused() -> None:
    one = Transition(rate=torch.ones(1, 1, 4), step=torch.ones(1, 1, 1, 1, 1), link="log_sigmoid", tau=2.0)
    other = Transition(rate=torch.ones(1, 1, 4), step=torch.ones(1, 1, 1, 1, 1), link="log_sigmoid", tau=4.0)
    with pytest.raises(RecordError, match=r"log_sigmoid/2\.0 and log_sigmoid/4\.0"):
        one * other


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (Transition(head=torch.zeros(1, 1, 2)), Transition(head=torch.zeros(1, 1, 3))),
        (Transition(key=torch.zeros(1, 4, 1, 5)), Transition(value=torch.zeros(1, 3, 1, 5))),
        (Transition(key=torch.zeros(1, 1, 1, 5)), Transition(erase=(torch.zeros(1, 1, 1, 6),) * 2)),
        (Transition(phase=torch.zeros(1, 1, 1, 2)), Transition(erase=(torch.zeros(1, 1, 1, 6),) * 2)),
        (Transition(phase=torch.zeros(1, 1, 1, 2)), Transition(gate=torch.zeros(1, 1, 1, 6, 1))),
        (Transition(head=torch.zeros(1, 3, 1)), Transition(erase=(torch.zeros(1, 6, 1, 4),) * 2)),
    ],
    ids=["heads", "steps", "erase over key", "erase over phase", "gate over phase", "micro-steps"],
)
def test_factors_of_other_sizes_are_refused(left: Transition, right: Transition) -> None:
    with pytest.raises(RecordError):
        left * right
    with pytest.raises(RecordError):
        right * left


def test_gradients_flow_through_a_product() -> None:
    key, erase = part("key"), part("erase")
    for tensor in (*named(key).values(), *named(erase).values()):
        tensor.requires_grad_()
    for product in (key * erase, erase * key):
        psi, _ = dense(product)
        psi.square().sum().backward()
    for tensor in (*named(key).values(), *named(erase).values()):
        assert tensor.grad is not None
        assert tensor.grad.abs().sum() > 0


def test_a_product_in_bfloat16_decays_an_erase_in_float32() -> None:
    erase = Transition(erase=tuple(x.bfloat16() for x in part("erase").erase or ()))  # type: ignore[arg-type]
    product = Transition(head=torch.full((1, 1, 1), -1.0).bfloat16()) * erase
    assert product.erase is not None
    assert product.erase[0].dtype == torch.float32


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it again: python tests/transitions.py"


@pytest.mark.parametrize("substeps", [2, 3])
@pytest.mark.parametrize("names", [("head",), ("key",), ("phase",), ("head", "phase")], ids=", ".join)
def test_with_substeps_a_product_acts_before_the_first_of_them(names: tuple[str, ...], substeps: int) -> None:
    """(I + a_n b_nᵀ) … (I + a_1 b_1ᵀ) D, one micro-step after the other."""
    batch, length, heads, key, _ = SHAPE
    generator = torch.Generator().manual_seed(0)
    a, b = (
        torch.randn(batch, length * substeps, heads, key, dtype=torch.float64, generator=generator) for _ in range(2)
    )
    erase = Transition(erase=(a, b))
    product, psi = erase, torch.eye(key * SHAPE[4], dtype=torch.float64)
    for seed, name in enumerate(names):
        product = product.times(part(name, seed), substeps=substeps)
    for seed, name in enumerate(names):
        psi = psi @ dense(part(name, seed))[0]
    wanted = psi
    own_a, own_b = (x.unflatten(1, (length, substeps)) for x in (a, b))
    for n in range(substeps):
        wanted = dense(Transition(erase=(own_a[:, :, n], own_b[:, :, n])))[0] @ wanted

    assert product.erase is not None
    got_a, got_b = (x.unflatten(1, (length, substeps)) for x in product.erase)
    parts = {**named(product), "erase[0]": got_a[:, :, 0], "erase[1]": got_b[:, :, 0]}
    found = operator(parts, SHAPE)
    for n in range(1, substeps):
        found = dense(Transition(erase=(got_a[:, :, n], got_b[:, :, n])))[0] @ found
    assert relative_error(found, wanted) <= EXACT


def test_with_substeps_nothing_acts_after_an_erase() -> None:
    with pytest.raises(RecordError, match="list it after the erase"):
        part("head", 0).times(Transition(erase=(torch.zeros(1, 2, 1, 1), torch.zeros(1, 2, 1, 1))), substeps=2)
