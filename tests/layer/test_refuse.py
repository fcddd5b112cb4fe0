import pytest

from eos.config import Denominator, EOSMixer, FirstPass, Output, OutputGate, ShortConvolution, SoftmaxMixer, TokenShift
from eos.errors import CompositionError, RecipeError
from eos.layer import Design, EOSLayer, refuse
from eos.registry import Entry

FIRST_PASS = FirstPass(expand="linear", shrink="linear")
REFUSED = [
    ({"heads": 5}, "5 heads do not divide key_ratio · width = 16"),
    ({"value_ratio": 0.3}, "do not divide value_ratio"),
    ({"groups": 3}, "heads = 4 must be a multiple of groups = 3"),
    ({"key_size": 3, "oscillation": ["rotation"]}, "oscillation stage 'rotation': .*K must be even, got K = 3"),
    ({"key_size": 3, "oscillation": ["phase_gate"]}, "even, got K = 3"),
    ({"key_size": 3, "oscillation": [("key_gate", {"pairs": True})]}, "even K, got K = 3"),
    ({"key_size": 3, "oscillation": [("additive", {"pairs": True})]}, "even K, got K = 3"),
    ({"key_size": 3, "oscillation": [("rate_step", {"turning": True})]}, "even K, got K = 3"),
    ({"oscillation": ["delta", "value_gate"]}, "erase does not multiply with value"),
    ({"oscillation": ["rotation", "key_gate"]}, "tied in pairs"),
    (
        {"oscillation": ["rotation"], "couple": "pad"},
        "oscillation=rotation shrink=linear couple=pad cannot stand together",
    ),
    (
        {"expand": ("learned", {"over": "key_value"}), "oscillation": ["delta"]},
        r"erase.* must be \[B,S,H,K\], got 5 axes",
    ),
    ({"input": "layer", "value_ratio": 2}, r"input=layer needs heads · V = width, got 4 · 8 and 16"),
    ({"input": "layer", "input_activation": "silu"}, "input=layer is no projection"),
    ({"input": "ones", "skip": True}, r"needs output\.mix=true"),
    ({"heads": None}, "heads=null needs a value_size"),
    ({"token_shift": TokenShift(), "stages_read": "input"}, "a token shift is of the layer's input"),
    ({"output": Output(gate=OutputGate(inner="silu"))}, r"give output\.gate\.rank"),
    ({"shrink": "parts", "denominator": Denominator()}, "a denominator divides one read, got 4"),
    ({"shrink": "parts", "couple": "pad"}, "a couple stage changes one read, got 4"),
    ({"shrink": "parts", "key_size": 9}, "a memory is read at most 8 times, got K = 9"),
    ({"shrink": "parts", "bonus": True}, "bonus=true needs one read"),
    ({"expand": "channel", "bonus": True}, "states without a V axis"),
    ({"oscillation": [("value_gate", {"gate": "complement"})], "bonus": True}, "a gate without a V axis"),
    ({"oscillation": ["exponential_gate"], "bonus": True}, "bonus=true with a log_gate needs K = 1"),
    ({"null_token": True}, "an oscillation with a log_gate"),
    ({"null_token": True, "oscillation": ["exponential_gate"]}, "an oscillation with a log_gate"),
    ({"substeps": 2, "skip": True}, "substeps need input=linear"),
    ({"substeps": 2, "expand": "ones"}, "substeps need an expand stage that reads x"),
    ({"substeps": 2, "oscillation": ["head_gate", "delta"]}, "list it after the erase"),
    ({"substeps": 2, "oscillation": [("key_gate", {"gate": "complement"})]}, r"gate must be .* with S = 6"),
    ({"substeps": 2, "couple": "fixation"}, "substeps must be 1"),
    ({"groups": 2, "couple": "fixation"}, "groups must be null"),
    ({"expand": ("learned", {"over": "key_value"}), "couple": "fixation"}, "states without a V axis"),
    ({"expand": ("learned", {"over": "key_value"}), "couple": "fourier"}, "states without a V axis"),
    ({"shrink": "modes"}, "oscillation=modes makes them"),
    ({"expand": ("modes", {"entries": 3})}, r"d = 3 entries need K = 2 N d, got K = 4"),
    ({"shrink": "softmax"}, "sees what a first_pass returns: give one"),
    ({"substeps": 2, "oscillation": ["generalized_delta"]}, "substeps must be 1"),
    ({"substeps": 2, "oscillation": ["dplr"]}, "substeps must be 1"),
    ({"oscillation": [("rotation", {"form": "cosine"})], "couple": "pad", "bonus": True}, "which couple changes"),
    ({"groups": 2, "shrink": "state_space"}, "groups must be null or 1"),
    ({"oscillation": ["cosine"], "shrink": "state_space", "key_size": 5}, "K must be even, got K = 5"),
    ({"oscillation": ["dplr"], "shrink": "state_space"}, "oscillation=dplr alone, at V = 1"),
    ({"oscillation": ["delta"], "shrink": "state_space", "heads": 16}, "oscillation=dplr alone"),
    ({"oscillation": ["modes", "head_decay"], "expand": "modes", "shrink": "modes"}, "oscillation=modes makes them"),
    ({"null_token": True, "oscillation": ["additive", "head_decay"]}, "weights that do not fade"),
    ({"null_token": True, "oscillation": ["additive"], "bonus": True}, "null_token=true has no bonus"),
    (
        {"expand": "ones", "shrink": "ones", "input": "layer", "short_convolution": ShortConvolution()},
        "nothing to act on",
    ),
    (
        {"first_pass": FIRST_PASS, "oscillation": ["key_gate"], "short_convolution": ShortConvolution()},
        "targets=.input.",
    ),
    (
        {"first_pass": FIRST_PASS, "oscillation": ["key_gate"], "heads": 3, "value_size": 4, "key_size": 4},
        "do not divide",
    ),
    ({"oscillation": [("rotation", {"form": "cosine", "over": "value"})]}, "over=value has pairs of its own"),
    ({"oscillation": [("rotation", {"frequencies": "fourier"})]}, "frequencies=fourier needs form=cosine"),
    ({"oscillation": [("learned_decay", {"learned": False, "tau": 4.0})]}, "fixed slopes have neither tau nor biases"),
    ({"first_pass": FIRST_PASS, "oscillation": ["delta"]}, "first_pass needs decays over heads or K"),
    ({"first_pass": FIRST_PASS, "groups": 2}, "groups must be null and substeps 1"),
    ({"oscillation": [("rotation", {"turned": "low", "learned": True})]}, "only where they are geometric"),
]
ALLOWED = [
    {"substeps": 2, "oscillation": ["delta", "head_gate", "rotation"], "groups": 2, "denominator": Denominator()},
    {"first_pass": FIRST_PASS, "oscillation": ["key_gate", "head_gate"]},
    {"oscillation": [("key_gate", {"pairs": True, "gate": "complement"}), "rotation"]},
    {"oscillation": [("additive", {"pairs": True}), "rotation"]},
    {"oscillation": [("rotation", {"form": "cosine"}), "key_gate"], "couple": "pad"},
    {"oscillation": ["rotation", "delta", "head_gate"], "groups": 2},
    {"oscillation": [("rate_step", {"turning": True})]},
    {"expand": ("learned", {"over": "key_value"}), "shrink": ("learned", {"over": "key_value"})},
    {"oscillation": ["exponential_gate"], "denominator": Denominator()},
]


def mixer(**changes: object) -> EOSMixer:
    return EOSMixer(**{"heads": 4, "expand": "linear", "shrink": "linear", **changes})


@pytest.mark.parametrize(("changes", "reason"), REFUSED, ids=str)
def test_what_makes_no_sense_is_refused_with_its_reason(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(CompositionError, match=reason) as caught:
        EOSLayer(mixer(**changes), 16)
    assert str(caught.value) == refuse(mixer(**changes), 16)


@pytest.mark.parametrize("changes", ALLOWED, ids=str)
def test_what_makes_sense_is_built(changes: dict[str, object]) -> None:
    assert refuse(mixer(**changes), 16) is None
    EOSLayer(mixer(**changes), 16)


def test_a_maximum_over_every_entry_has_no_denominator() -> None:
    """With a decay over K the running maximum is one for every entry, which no denominator of a whole head fits."""
    assert refuse(mixer(oscillation=["additive"], denominator=Denominator()), 16) is None
    maxima = ["exponential_gate", "key_gate"]
    assert refuse(mixer(oscillation=maxima), 16) is None
    assert "all of K share" in str(refuse(mixer(oscillation=maxima, denominator=Denominator()), 16))


def test_refusing_costs_no_memory() -> None:
    """A layer of 4 TB is judged by its shapes."""
    assert refuse(mixer(key_ratio=16, value_ratio=16), 1 << 18) is None


def test_a_design_is_equal_where_the_same_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused is kept by it: options and classes of stages count, and not the recipe object."""
    assert Design(mixer(key_size=4)) == Design(mixer(key_size=4))
    assert hash(Design(mixer(key_size=4))) == hash(Design(mixer(key_size=4)))
    assert Design(mixer(key_size=4)) != Design(mixer(key_size=6))
    assert Design(mixer(expand="elu")) != Design(mixer(expand="linear"))
    before = Design(mixer(expand="elu"))
    monkeypatch.setattr(Entry, "load", lambda entry: type(entry.name, (), {}))
    assert Design(mixer(expand="elu")) != before


def test_an_unknown_name_is_an_error_not_a_refusal() -> None:
    with pytest.raises(RecipeError, match="unknown"):
        refuse(mixer(expand="nothing"), 16)


def test_softmax_sizes_are_judged_by_the_same_predicate() -> None:
    assert refuse(SoftmaxMixer(kind="softmax", heads=4), 16) is None
    assert "do not divide" in str(refuse(SoftmaxMixer(kind="softmax", heads=5), 16))
