"""Cases that take several recipes or overrides apart, and the mixers that are no plain composition."""

from tests.models.base_cases import (
    BASE,
    CONVOLVED,
    FIRST,
    LAYERS,
    LOW_RANK_GATE,
    NORM,
    QUERY_KEY_VALUE,
    SHRINK,
    Case,
)

SOFTMAX = {name: f"{name}.weight" for name in ("query", "key", "value")}
ORDER = {**QUERY_KEY_VALUE, **NORM}
VARIANTS: dict[str, Case] = {
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


VARIANTS |= {
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
VARIANTS |= {
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
VARIANTS |= {
    "tnl mixers.main.oscillation.schedule=linear mixers.main.oscillation.layer_factor=to_last": (
        "lightning_attention",
        "main",
        {"layer": 1, "layers": LAYERS, "schedule": "paper"},
        {**QUERY_KEY_VALUE, **LOW_RANK_GATE},
    ),
    "lightnet mixers.main.null_token=true": (*BASE["lightnet"][:2], {"null": True}, BASE["lightnet"][3]),
    "lightnet positions=average": ("positional_scan", *VARIANTS["cosformer2 positions=average"][1:]),
    "mamba oscillation.turning=true": (
        *BASE["mamba"][:3],
        {**BASE["mamba"][3], "turn": f"{FIRST}.phase_rate"},
    ),
    "s4d oscillation.start=inverse": BASE["s4d"],
    "s4d oscillation.start=real expand.real=false": (
        "diagonal_state_space.real_diagonal_state_space",
        *BASE["s4d"][1:3],
        {name: theirs for name, theirs in BASE["s4d"][3].items() if name != "turn"},
    ),
    "deltaproduct substeps=3": (
        *VARIANTS["deltaproduct"][:2],
        {"substeps": 3},
        {**VARIANTS["deltaproduct"][3], "key_2": "composition.expand.stages.2.projection.weight"},
    ),
}
