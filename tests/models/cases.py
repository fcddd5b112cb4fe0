"""Which naive form belongs to which mixer of which recipe, and how it names the mixer's parameters."""

from collections.abc import Iterator
from itertools import product
from typing import Any

#: Layers of the model that the mixers are taken from.
LAYERS = 3
EXPAND, SHRINK = "composition.expand.projection", "composition.shrink.projection"
FIRST, SECOND = "composition.oscillation.0", "composition.oscillation.1"
QUERY_KEY_VALUE = {"query": f"{SHRINK}.weight", "key": f"{EXPAND}.weight", "value": "composition.input.weight"}
CONVOLVED = {
    f"{name}_taps": f"composition.convolutions.{target}.weight"
    for name, target in (("query", "shrink"), ("key", "expand"), ("value", "input"))
}
LOW_RANK_GATE = {
    "gate_down": "readout.gate.projection.0.weight",
    "gate_up": "readout.gate.projection.1.weight",
}
NORM = {"norm": "readout.norm.weight"}
STATE_SPACE = {
    "log_rate": f"{FIRST}.log_rate",
    "turn": f"{FIRST}.phase_rate",
    "log_step": f"{FIRST}.log_step",
    "c": "composition.shrink.weight",
    "skip": "skip",
}
TIME_MIXING = {
    **QUERY_KEY_VALUE,
    **NORM,
    "norm_bias": "readout.norm.bias",
    "gate": "readout.gate.projection.weight",
    "mix": "composition.shift.mix",
    "bonus": "bonus.weight",
}

#: Recipe and overrides (and a word to tell mixers apart) → naive form, or file.form; mixer; arguments besides heads;
#: the mixer's parameter for every name of the naive form.
CASES: dict[str, tuple[str, str, dict[str, Any], dict[str, str]]] = {
    "linear_attention": ("linear_attention", "main", {}, QUERY_KEY_VALUE),
    "retnet": (
        "retention",
        "main",
        {},
        {**QUERY_KEY_VALUE, **NORM, "norm_bias": "readout.norm.bias", "gate": "readout.gate.projection.weight"},
    ),
    "tnl": ("lightning_attention", "main", {"layer": 1, "layers": LAYERS}, {**QUERY_KEY_VALUE, **LOW_RANK_GATE}),
    "tnl first": (
        "lightning_attention",
        "first",
        {"layer": 0, "layers": LAYERS},
        {**QUERY_KEY_VALUE, **LOW_RANK_GATE, "theta": "composition.oscillation.1.theta"},
    ),
    "gla": (
        "gated_linear_attention",
        "main",
        {},
        {
            **QUERY_KEY_VALUE,
            **NORM,
            "gate_down": f"{FIRST}.logits.projection.0.weight",
            "gate_up": f"{FIRST}.logits.projection.1.weight",
            "gate_bias": f"{FIRST}.logits.bias",
            "output_gate": "readout.gate.projection.weight",
        },
    ),
    "hgrn2": (
        "gated_rnn",
        "main",
        {"layer": 1},
        {
            **NORM,
            "input": "composition.input.weight",
            "output_gate": f"{SHRINK}.weight",
            "forget": f"{FIRST}.logits.projection.weight",
            "forget_bias": f"{FIRST}.logits.bias",
            "bounds": f"{FIRST}.bounds",
        },
    ),
    "hgrn": (
        "complex_gated_rnn",
        "main",
        {"layer": 2},
        {
            **NORM,
            "norm_bias": "readout.norm.bias",
            "input": f"{EXPAND}.weight",
            "forget": f"{FIRST}.logits.projection.weight",
            "forget_bias": f"{FIRST}.logits.bias",
            "bounds": f"{FIRST}.bounds",
            "theta": f"{SECOND}.theta",
            "gate": "readout.gate.projection.weight",
        },
    ),
    "mamba": (
        "selective_scan",
        "main",
        {},
        {
            "input": "composition.input.weight",
            "convolution": "composition.convolutions.input.weight",
            "convolution_bias": "composition.convolutions.input.bias",
            "b": f"{EXPAND}.weight",
            "c": f"{SHRINK}.weight",
            "step_down": f"{FIRST}.logits.projection.0.weight",
            "step_up": f"{FIRST}.logits.projection.1.weight",
            "step_bias": f"{FIRST}.logits.bias",
            "log_rate": f"{FIRST}.log_rate",
            "skip": "skip",
            "gate": "readout.gate.projection.weight",
        },
    ),
    "mamba2": (
        "state_space_duality",
        "main",
        {},
        {
            **NORM,
            "x": "composition.input.weight",
            "b": f"{EXPAND}.weight",
            "c": f"{SHRINK}.weight",
            **{
                f"{name}_{part}": f"composition.convolutions.{target}.{parameter}"
                for name, target in (("x", "input"), ("b", "expand"), ("c", "shrink"))
                for part, parameter in (("taps", "weight"), ("bias", "bias"))
            },
            "step": f"{FIRST}.logits.projection.weight",
            "step_bias": f"{FIRST}.logits.bias",
            "log_rate": f"{FIRST}.log_rate",
            "skip": "skip",
            "gate": "readout.gate.projection.weight",
        },
    ),
    "s4d": ("diagonal_state_space", "main", {}, STATE_SPACE),
    "dss": ("diagonal_state_space.plain_diagonal_state_space", "main", {}, STATE_SPACE),
    "s5": (
        "simplified_state_space",
        "main",
        {},
        {
            "b": f"{EXPAND}.weight",
            "log_rate": f"{FIRST}.log_rate",
            "turn": f"{FIRST}.phase_rate",
            "log_step": f"{FIRST}.log_step",
            "c": "readout.mix.weight",
            "skip": "skip",
        },
    ),
    "lru": (
        "linear_recurrent_unit",
        "main",
        {},
        {
            "b": f"{EXPAND}.weight",
            "log_rate": f"{FIRST}.log_rate",
            "log_angle": f"{FIRST}.log_angle",
            "log_gate": f"{FIRST}.log_gate",
            "c": "readout.mix.weight",
            "skip": "skip",
        },
    ),
    "griffin": (
        "real_gated_lru",
        "main",
        {},
        {
            "input": "composition.input.weight",
            "taps": "composition.convolutions.input.weight",
            "taps_bias": "composition.convolutions.input.bias",
            "logit": f"{FIRST}.logit",
            "power": f"{FIRST}.power_logits.projection.weight",
            "power_bias": f"{FIRST}.power_logits.bias",
            "write": f"{FIRST}.input_logits.projection.weight",
            "write_bias": f"{FIRST}.input_logits.bias",
            "gate": "readout.gate.projection.weight",
        },
    ),
    "rwkv4": (
        "fading_average",
        "main",
        {},
        {
            "mix": "composition.shift.mix",
            "key": f"{FIRST}.logits.projection.weight",
            "key_bias": f"{FIRST}.logits.bias",
            "value": "composition.input.weight",
            "log_rate": f"{FIRST}.log_rate",
            "bonus": "bonus.weight",
            "gate": "readout.gate.projection.weight",
        },
    ),
    "rwkv5": ("eagle_finch.eagle", "main", {}, {**TIME_MIXING, "decay": f"{FIRST}.logits"}),
    "rwkv6": (
        "eagle_finch.finch",
        "main",
        {},
        {
            **TIME_MIXING,
            "common": "composition.shift.common",
            "mix_down": "composition.shift.down.weight",
            "mix_up": "composition.shift.up",
            "decay": f"{FIRST}.logits.bias",
            "decay_down": f"{FIRST}.logits.projection.0.weight",
            "decay_up": f"{FIRST}.logits.projection.2.weight",
        },
    ),
    "rwkv7": (
        "goose",
        "main",
        {},
        {
            **{name: weight for name, weight in TIME_MIXING.items() if name != "gate"},
            **LOW_RANK_GATE,
            "decay": f"{FIRST}.decay.bias",
            "decay_down": f"{FIRST}.decay.projection.0.weight",
            "decay_up": f"{FIRST}.decay.projection.2.weight",
            "strength": f"{FIRST}.strength.bias",
            "strength_down": f"{FIRST}.strength.projection.0.weight",
            "strength_up": f"{FIRST}.strength.projection.1.weight",
            "direction": f"{FIRST}.direction",
            "replacement": f"{FIRST}.replacement",
        },
    ),
    "gated_deltanet": (
        "gated_delta_rule",
        "main",
        {},
        {
            **QUERY_KEY_VALUE,
            **CONVOLVED,
            **NORM,
            "step": f"{FIRST}.logits.projection.weight",
            "step_bias": f"{FIRST}.logits.bias",
            "log_rate": f"{FIRST}.log_rate",
            "beta": "composition.oscillation.1.logits.projection.weight",
            "beta_bias": "composition.oscillation.1.logits.bias",
            "gate": "readout.gate.projection.weight",
        },
    ),
    "based": ("taylor_attention", "main", {}, QUERY_KEY_VALUE),
    "cosformer": ("cosine_attention", "main", {"most": 2048}, QUERY_KEY_VALUE),
    "deltanet": (
        "delta_rule",
        "main",
        {},
        {
            **QUERY_KEY_VALUE,
            **CONVOLVED,
            **NORM,
            "beta": f"{FIRST}.logits.projection.weight",
            "beta_bias": f"{FIRST}.logits.bias",
        },
    ),
    "kda": (
        "delta_rule.kimi_delta_attention",
        "main",
        {},
        {
            **QUERY_KEY_VALUE,
            **CONVOLVED,
            **NORM,
            **LOW_RANK_GATE,
            "beta": f"{FIRST}.logits.projection.weight",
            "beta_bias": f"{FIRST}.logits.bias",
            "step_down": f"{SECOND}.logits.projection.0.weight",
            "step_up": f"{SECOND}.logits.projection.1.weight",
            "step_bias": f"{SECOND}.logits.bias",
            "log_rate": f"{SECOND}.log_rate",
        },
    ),
    "mlstm": (
        "matrix_lstm",
        "main",
        {},
        {
            **QUERY_KEY_VALUE,
            **NORM,
            "norm_bias": "readout.norm.bias",
            "forget": f"{FIRST}.forget.projection.weight",
            "forget_bias": f"{FIRST}.forget.bias",
            "write": f"{FIRST}.input.projection.weight",
            "write_bias": f"{FIRST}.input.bias",
            "gate": "readout.gate.projection.weight",
        },
    ),
    "mingru": (
        "minimal_gru",
        "main",
        {},
        {
            "candidate": "composition.input.weight",
            "taps": "composition.convolutions.input.weight",
            "gate": f"{FIRST}.logits.projection.weight",
            "gate_bias": f"{FIRST}.logits.bias",
        },
    ),
    "gfw": (
        "decaying_fast_weights",
        "main",
        {},
        {
            **QUERY_KEY_VALUE,
            **NORM,
            "norm_bias": "readout.norm.bias",
            "over_key": f"{FIRST}.key_logits.projection.weight",
            "over_key_bias": f"{FIRST}.key_logits.bias",
            "over_value": f"{FIRST}.value_logits.projection.weight",
            "over_value_bias": f"{FIRST}.value_logits.bias",
        },
    ),
    "gateloop": (
        "gate_loop",
        "main",
        {},
        {
            **QUERY_KEY_VALUE,
            **NORM,
            "norm_bias": "readout.norm.bias",
            "decay": f"{FIRST}.logits.projection.weight",
            "decay_bias": f"{FIRST}.logits.bias",
            "phase": f"{SECOND}.phase.projection.weight",
            "phase_bias": f"{SECOND}.phase.bias",
            "gate": "readout.gate.projection.weight",
        },
    ),
    "lightnet": (
        "additive_attention",
        "main",
        {},
        {
            **NORM,
            **LOW_RANK_GATE,
            "query": f"{SHRINK}.weight",
            "value": "composition.input.weight",
            "logits": "composition.oscillation.1.logits.projection.weight",
            "logits_bias": "composition.oscillation.1.logits.bias",
        },
    ),
}

NORM_BIAS = {"norm_bias": "readout.norm.bias"}
SOFTMAX = {name: f"{name}.weight" for name in ("query", "key", "value")}
ORDER = {**QUERY_KEY_VALUE, **NORM}
CASES |= {
    "deltaproduct": (
        "delta_product",
        "main",
        {"substeps": 2},
        {
            **NORM,
            **CONVOLVED,
            "query": f"{SHRINK}.weight",
            "key_0": "composition.expand.stages.0.projection.weight",
            "key_1": "composition.expand.stages.1.projection.weight",
            "value": "composition.input.weight",
            "beta": f"{FIRST}.logits.projection.weight",
            "beta_bias": f"{FIRST}.logits.bias",
            "gate": "readout.gate.projection.weight",
        },
    ),
    "transnormer": ("norm_attention", "main", {"plus_one": True}, QUERY_KEY_VALUE),
    "transnormer_t1": ("norm_attention", "main", {"plus_one": False}, QUERY_KEY_VALUE),
    "transnormer block=8": ("block_attention", "diagonal", {"block": 8, "score": "softmax"}, SOFTMAX),
    "transnormer_t1 block=8": (
        "block_attention",
        "diagonal",
        {"block": 8, "score": "relu"},
        {**SOFTMAX, "norm": "norm.weight"},
    ),
    **{
        f"lrpe {overrides}".strip(): ("relative_attention", "main", {"kind": kind}, {**ORDER, **more})
        for kind, overrides, more in (
            ("rotate", "", {}),
            ("rotate_low", "oscillation.turned=low", {}),
            ("rotate_high", "oscillation.turned=high", {}),
            ("cosine", "couple=pad oscillation.form=cosine", {}),
            ("cosine_low", "couple=pad oscillation.form=cosine oscillation.turned=low", {}),
            ("cosine_high", "couple=pad oscillation.form=cosine oscillation.turned=high", {}),
            ("householder", "couple=householder", {"reflect": "composition.couple.direction"}),
            ("permutation", "couple=fourier oscillation.form=cosine oscillation.frequencies=fourier", {}),
        )
    },
    "cosformer2": ("relative_attention.cosine_half_attention", "main", {}, {**ORDER, **LOW_RANK_GATE}),
    "cosformer2 positions=average": (
        "positional_scan",
        "average",
        {},
        {
            **NORM,
            "query": "composition.shrink.state",
            "key": "composition.expand.state",
            "decay_logit": f"{FIRST}.logits",
        },
    ),
    "feature_fixation": (
        "fixed_attention",
        "main",
        {},
        {
            **QUERY_KEY_VALUE,
            "query_gate": "composition.couple.shrink.weight",
            "query_gate_bias": "composition.couple.shrink.bias",
            "key_gate": "composition.couple.expand.weight",
            "key_gate_bias": "composition.couple.expand.bias",
        },
    ),
    "s4": (
        "structured_state_space",
        "main",
        {},
        {
            "log_rate": f"{FIRST}.log_rate",
            "turn": f"{FIRST}.turn",
            "p": f"{FIRST}.p",
            "log_step": f"{FIRST}.log_step",
            "b": "composition.expand.state",
            "c": "composition.shrink.weight",
            "skip": "skip",
        },
    ),
    "h3": (
        "shifted_state_space",
        "main",
        {"heads": 4},
        {
            **QUERY_KEY_VALUE,
            "key_taps": "composition.convolutions.expand.weight",
            "log_rate": f"{FIRST}.log_rate",
            "turn": f"{FIRST}.turn",
            "log_step": f"{FIRST}.log_step",
            "c": "composition.shrink.weight",
        },
    ),
    "gsa": (
        "slot_attention",
        "main",
        {},
        {
            **NORM,
            "query": "composition.first.shrink.projection.weight",
            "key": "composition.first.expand.projection.weight",
            "value": "composition.input.weight",
            "forget": f"{FIRST}.logits.projection.weight",
            "forget_bias": f"{FIRST}.logits.bias",
        },
    ),
}
PROJECTED = {"gate": "projections.gate.weight", "value": "projections.value.weight"}
NETWORK = {
    "in_weight": "responses.0.first.weight",
    "in_bias": "responses.0.first.bias",
    "out_weight": "responses.0.last.weight",
}


def _hidden(layers: int) -> dict[str, str]:
    return {f"hidden_{n}_{part}": f"responses.0.inner.{n}.{part}" for n in range(layers) for part in ("weight", "bias")}


CASES |= {
    "tnn": (
        "long_convolution.toeplitz",
        "main",
        {"decay": 0.99, "layers": 6},
        {**PROJECTED, **NETWORK, **_hidden(6), "out_bias": "responses.0.last.bias"},
    ),
    "hyena": (
        "long_convolution.implicit",
        "main",
        {"length": 2048, "layers": 2},
        {
            **PROJECTED,
            **NETWORK,
            **_hidden(2),
            **{f"{name}_taps": f"convolutions.{name}.weight" for name in ("gate", "value")},
            "input_gate": "projections.gate_0.weight",
            "input_gate_taps": "convolutions.gate_0.weight",
            "skip": "skips.0",
            "rate": "responses.0.rate",
            "frequency": "responses.0.frequency",
        },
    ),
}
CASES |= {
    f"linear_attention expand=linear shrink=linear expand.activation={features} shrink.activation={features} {more}": (
        "linear_attention",
        "main",
        {"features": features, "normalised": not more},
        QUERY_KEY_VALUE,
    )
    for features in ("elu_plus_one", "relu", "silu", "relu_squared", "exp")
    for more in ("", "denominator=null")
    if more or features != "silu"  # a sum of either sign has no safe inverse
}
CASES |= {
    "tnl mixers.main.oscillation.schedule=linear mixers.main.oscillation.layer_factor=to_last": (
        "lightning_attention",
        "main",
        {"layer": 1, "layers": LAYERS, "schedule": "paper"},
        {**QUERY_KEY_VALUE, **LOW_RANK_GATE},
    ),
    "lightnet mixers.main.null_token=true": (*CASES["lightnet"][:2], {"null": True}, CASES["lightnet"][3]),
    "lightnet positions=average": ("positional_scan", *CASES["cosformer2 positions=average"][1:]),
    "mamba oscillation.turning=true": (
        *CASES["mamba"][:3],
        {**CASES["mamba"][3], "turn": f"{FIRST}.phase_rate"},
    ),
    "s4d oscillation.start=inverse": CASES["s4d"],
    "s4d oscillation.start=real expand.real=false": (
        "diagonal_state_space.real_diagonal_state_space",
        *CASES["s4d"][1:3],
        {name: theirs for name, theirs in CASES["s4d"][3].items() if name != "turn"},
    ),
    "deltaproduct substeps=3": (
        *CASES["deltaproduct"][:2],
        {"substeps": 3},
        {**CASES["deltaproduct"][3], "key_2": "composition.expand.stages.2.projection.weight"},
    ),
}
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


def _grid() -> Iterator[tuple[str, tuple[str, str, dict[str, Any], dict[str, str]]]]:
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


CASES |= dict(_grid())
CASES["lcsm key_size=8 oscillation=rate_step"] = (
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
