"""The recipes' mixers with the naive form of each, and how it names the mixer's parameters."""

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

Case = tuple[str, str, dict[str, Any], dict[str, str]]

#: Recipe and overrides (and a word to tell mixers apart) → naive form, or file.form; mixer; arguments besides heads;
#: the mixer's parameter for every name of the naive form.
BASE: dict[str, Case] = {
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
