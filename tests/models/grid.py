"""Every way to make e, o and s that the grid of linear complexity sequence models names."""

from collections.abc import Iterator
from itertools import product

from tests.models.base_cases import EXPAND, FIRST, NORM, SHRINK, Case

NORM_BIAS = {"norm_bias": "readout.norm.bias"}
KEY_LOGITS = {"key_logits": f"{FIRST}.logits.projection.weight", "key_logits_bias": f"{FIRST}.logits.bias"}
VALUE_LOGITS = {f"value{name[3:]}": theirs for name, theirs in KEY_LOGITS.items()}
TABLE = {"table": f"{FIRST}.table"}
#: The oscillations of the grid: the naive form's name, the recipe's overrides, the parameters.
GRID: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        "outer",
        "",
        {
            f"{over}_logits{bias}": f"{FIRST}.{over}_logits.{theirs}"
            for over in ("key", "value")
            for bias, theirs in (("", "projection.weight"), ("_bias", "bias"))
        },
    ),
    ("value", "oscillation=value_gate oscillation.tau=16", VALUE_LOGITS),
    ("key", "oscillation=key_gate oscillation.tau=16", KEY_LOGITS),
    *(
        (
            f"constant_{over}",
            f"oscillation=learned_decay oscillation.over={over} oscillation.tau=16",
            {"table": f"{FIRST}.logits"},
        )
        for over in ("key_value", "key", "value")
    ),
    *(
        (
            name,
            f"oscillation=mixed_gate oscillation.over={over} oscillation.table={table}",
            {f"{over}_logits": f"{FIRST}.projection.weight", **TABLE},
        )
        for name, over, table in (
            ("key_table", "key", "key_value"),
            ("value_table", "value", "key_value"),
            ("value_key", "value", "key"),
            ("key_value", "key", "value"),
        )
    ),
    ("none", "oscillation=none", {}),
    ("rotation", "oscillation=rotation oscillation.form=cosine couple=pad", {}),
    ("cumulative_softmax", "oscillation=additive", KEY_LOGITS),
)
ACTIVATIONS = {
    "identity": "none",
    "relu": "relu",
    "sigmoid": "sigmoid",
    "one_plus_elu": "elu_plus_one",
    "silu": "silu",
    "elu": "elu",
    "squared_relu": "relu_squared",
    "square": "square",
}
#: e and s: overrides, and the parameter of the naive form.
STATES = {
    "expand": (
        ("", {"expand": f"{EXPAND}.weight"}),
        ("expand=learned expand.over=key_value", {"expand_state": "composition.expand.state"}),
    ),
    "shrink": (
        ("", {"shrink": f"{SHRINK}.weight"}),
        ("shrink=learned shrink.over=key_value", {"shrink_state": "composition.shrink.state"}),
    ),
}


def _grid() -> Iterator[tuple[str, Case]]:
    """Every oscillation with every way to make e and s, and every activation of them with one oscillation."""
    sizes = "lcsm heads=2 key_size=8 output.per_head=true"
    always = {**NORM, **NORM_BIAS, "input": "composition.input.weight"}
    for (name, overrides, own), (e, e_own), (s, s_own) in product(GRID, STATES["expand"], STATES["shrink"]):
        if name == "rotation" and (e or s):
            continue  # a state per channel has no angles to turn by
        chosen = {"oscillation": name, "tau": 16.0, "activation": "identity"}
        yield " ".join([sizes, overrides, e, s]), ("grid", "main", chosen, {**always, **own, **e_own, **s_own})
    for theirs, ours in ACTIVATIONS.items():
        for tau in (1.0, 4.0):
            overrides = f"{sizes} oscillation.tau={tau} expand.activation={ours} shrink.activation={ours}"
            chosen = {"oscillation": "outer", "tau": tau, "activation": theirs}
            parameters = {**always, **GRID[0][2], **STATES["expand"][0][1], **STATES["shrink"][0][1]}
            yield overrides, ("grid", "main", chosen, parameters)


GRID_CASES = dict(_grid())
GRID_CASES["lcsm key_size=8 oscillation=rate_step"] = (
    "grid.state_space",
    "main",
    {},
    {
        **NORM,
        **NORM_BIAS,
        "input": "composition.input.weight",
        "expand": f"{EXPAND}.weight",
        "shrink": f"{SHRINK}.weight",
        "step_down": f"{FIRST}.logits.projection.0.weight",
        "step_up": f"{FIRST}.logits.projection.1.weight",
        "step_bias": f"{FIRST}.logits.bias",
        "log_rate": f"{FIRST}.log_rate",
    },
)
