"""RWKV-4's published checkpoints (arXiv:2305.13048, section 3; keys as transformers 5.23 stores RwkvForCausalLM).

A mixed input is x_t ∘ μ + x_{t−1} ∘ (1 − μ) of normed rows, μ a number a channel, x_{−1} = 0. With w = e^{time_decay}
and u = time_first, both a number a channel, a block adds to its row
    σ(r_t) ∘ (Σ_{s<t} e^{k_s − (t−1−s) w} v_s + e^{k_t + u} v_t) / (Σ_{s<t} e^{k_s − (t−1−s) w} + e^{k_t + u})
through output, then σ(r_t) ∘ value relu(k_t)². Each is preceded by its own layer norm with weight, bias and
ε = layer_norm_epsilon; block 0 norms the embedding by pre_ln first, and the head reads the row after ln_out, whose ε is
1e-5 whatever the config says. Everything stands in float64; the sums are taken without a running maximum, so keys
must stay below 700. The source keeps the sums in float32.

These are the logits of the source in training mode, or with rescale_every = 0. Otherwise, its inference divides
output.weight and feed_forward.value.weight of block i by 2^(i // rescale_every) in place and halves the row after every
rescale_every blocks. The row is then the same one times 2^−n, and layer norm forgets a scale except for ε: that is as
if ε were 4^n times as large, n = i // rescale_every for ln1 and ln2 of block i, n = blocks // rescale_every for ln_out.
"""

import torch
from torch import Tensor

# What a config.json that leaves a key out means.
_DEFAULTS: dict[str, object] = {
    "vocab_size": 50277,
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "attention_hidden_size": None,
    "intermediate_size": None,
    "layer_norm_epsilon": 1e-5,
    "tie_word_embeddings": False,
}


def checkpoint(seed: int = 0, **config: object) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Make config.json and model.safetensors of a tiny random model; a tied head is not stored."""
    told: dict[str, object] = {
        "architectures": ["RwkvForCausalLM"],
        "model_type": "rwkv",
        "dtype": "float64",
        "vocab_size": 17,
        "context_length": 1024,
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "attention_hidden_size": None,
        "intermediate_size": 40,
        "layer_norm_epsilon": 1e-5,
        "rescale_every": 0,
        "tie_word_embeddings": False,
        **config,
    }
    full = _filled(told)
    told["attention_hidden_size"], told["intermediate_size"] = full["attention_hidden_size"], full["intermediate_size"]
    width, inner, wide = full["hidden_size"], full["attention_hidden_size"], full["intermediate_size"]
    dice = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return torch.randn(*shape, generator=dice, dtype=torch.float64) * scale

    def between(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=dice, dtype=torch.float64)

    def norm(name: str) -> dict[str, Tensor]:
        return {f"{name}.weight": between(0.5, 1.5, width), f"{name}.bias": normal(width, scale=0.3)}

    weights = {"rwkv.embeddings.weight": normal(full["vocab_size"], width)}
    for layer in range(full["num_hidden_layers"]):
        block = f"rwkv.blocks.{layer}"
        if layer == 0:
            weights |= norm(f"{block}.pre_ln")
        weights |= norm(f"{block}.ln1") | norm(f"{block}.ln2")
        weights[f"{block}.attention.time_decay"] = between(-3.0, 1.0, inner)
        weights[f"{block}.attention.time_first"] = between(-1.5, 1.5, inner)
        for name in ("key", "value", "receptance"):
            weights[f"{block}.attention.time_mix_{name}"] = between(0.1, 0.9, 1, 1, width)
            weights[f"{block}.attention.{name}.weight"] = normal(inner, width, scale=width**-0.5)
        weights[f"{block}.attention.output.weight"] = normal(width, inner, scale=inner**-0.5)
        weights[f"{block}.feed_forward.time_mix_key"] = between(0.1, 0.9, 1, 1, width)
        weights[f"{block}.feed_forward.time_mix_receptance"] = between(0.1, 0.9, 1, 1, width)
        weights[f"{block}.feed_forward.key.weight"] = normal(wide, width, scale=width**-0.5)
        weights[f"{block}.feed_forward.receptance.weight"] = normal(width, width, scale=width**-0.5)
        weights[f"{block}.feed_forward.value.weight"] = normal(width, wide, scale=wide**-0.5)
    weights |= norm("rwkv.ln_out")
    if not full["tie_word_embeddings"]:
        weights["head.weight"] = normal(full["vocab_size"], width, scale=0.5)
    return told, weights


def logits(config: dict, weights: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """Logits [B,T,vocabulary] of tokens [B,T], one row and one token at a time."""
    config = _filled(config)
    weights = {name: weight.double() for name, weight in weights.items()}
    epsilon = config["layer_norm_epsilon"]
    rows = []
    for row in tokens:
        states = [_empty(config) for _ in range(config["num_hidden_layers"])]
        said = []
        for token in row:
            x = weights["rwkv.embeddings.weight"][token]
            x = _norm(x, weights, "rwkv.blocks.0.pre_ln", epsilon)
            for layer, state in enumerate(states):
                block = f"rwkv.blocks.{layer}"
                x = x + _attention(_norm(x, weights, f"{block}.ln1", epsilon), weights, f"{block}.attention", state)
                x = x + _feed_forward(
                    _norm(x, weights, f"{block}.ln2", epsilon), weights, f"{block}.feed_forward", state
                )
            x = _norm(x, weights, "rwkv.ln_out", 1e-5)
            head = "rwkv.embeddings.weight" if config["tie_word_embeddings"] else "head.weight"
            said.append(weights[head] @ x)
        rows.append(torch.stack(said))
    return torch.stack(rows)


def _empty(config: dict) -> dict[str, Tensor]:
    width, inner = config["hidden_size"], config["attention_hidden_size"]
    sizes = {"attention": width, "feed_forward": width, "above": inner, "below": inner}
    return {name: torch.zeros(size, dtype=torch.float64) for name, size in sizes.items()}


def _attention(x: Tensor, weights: dict[str, Tensor], at: str, state: dict[str, Tensor]) -> Tensor:
    r, k, v = (
        weights[f"{at}.{name}.weight"] @ _mixed(x, state["attention"], weights[f"{at}.time_mix_{name}"])
        for name in ("receptance", "key", "value")
    )
    state["attention"] = x
    now = torch.exp(k + weights[f"{at}.time_first"])
    wkv = (state["above"] + now * v) / (state["below"] + now)
    decay = torch.exp(-torch.exp(weights[f"{at}.time_decay"]))
    # The decay falls on what was before, not on the present token.
    state["above"] = decay * state["above"] + torch.exp(k) * v
    state["below"] = decay * state["below"] + torch.exp(k)
    return weights[f"{at}.output.weight"] @ (torch.sigmoid(r) * wkv)


def _feed_forward(x: Tensor, weights: dict[str, Tensor], at: str, state: dict[str, Tensor]) -> Tensor:
    r, k = (
        weights[f"{at}.{name}.weight"] @ _mixed(x, state["feed_forward"], weights[f"{at}.time_mix_{name}"])
        for name in ("receptance", "key")
    )
    state["feed_forward"] = x
    return torch.sigmoid(r) * (weights[f"{at}.value.weight"] @ torch.relu(k).square())


def _mixed(x: Tensor, before: Tensor, share: Tensor) -> Tensor:
    share = share.flatten()
    return x * share + before * (1 - share)


def _norm(x: Tensor, weights: dict[str, Tensor], at: str, epsilon: float) -> Tensor:
    centred = x - x.mean()
    return centred / (centred.square().mean() + epsilon).sqrt() * weights[f"{at}.weight"] + weights[f"{at}.bias"]


def _filled(config: dict) -> dict:
    full = _DEFAULTS | config
    if full["attention_hidden_size"] is None:
        full["attention_hidden_size"] = full["hidden_size"]
    if full["intermediate_size"] is None:
        full["intermediate_size"] = 4 * full["hidden_size"]
    return full
