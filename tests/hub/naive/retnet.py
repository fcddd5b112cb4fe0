"""Retention (arXiv:2307.08621) as flash-linear-attention 0.6 stores RetNetForCausalLM, from torch alone."""

from typing import Any

import torch
from torch import Tensor

ROTARY_BASE = 10000


def checkpoint(seed: int = 0, **config: Any) -> tuple[dict[str, object], dict[str, Tensor]]:
    """A small random config.json and the float64 weights of its model.safetensors; keywords replace config keys.

    Rotary frequencies and decays are no weights; use_short_conv and conv_size stand in the config and do nothing.
    """
    made: dict[str, Any] = {
        "architectures": ["RetNetForCausalLM"],
        "model_type": "retnet",
        "attn": None,
        "attn_mode": "chunk",
        "conv_size": 4,
        "elementwise_affine": True,
        "expand_k": 1.0,
        "expand_v": 2.0,
        "feature_map": None,
        "fuse_norm": True,
        "hidden_act": "swish",
        "hidden_ratio": 2,
        "hidden_size": 32,
        "intermediate_size": 24,
        "norm_eps": 1e-6,
        "num_heads": 4,
        "num_hidden_layers": 2,
        "num_kv_heads": None,
        "tie_word_embeddings": False,
        "use_output_gate": True,
        "use_short_conv": False,
        "vocab_size": 17,
    } | config
    hidden, heads = made["hidden_size"], made["num_heads"]
    groups = heads // (made["num_kv_heads"] or heads)
    keys, values = round(hidden * made["expand_k"]), round(hidden * made["expand_v"])
    inner = made["intermediate_size"]
    if inner is None:
        inner = -(-int(hidden * (made["hidden_ratio"] or 4) * 2 / 3) // 256) * 256
    gated = made["use_output_gate"]

    shapes = {"model.embeddings.weight": (made["vocab_size"], hidden), "model.norm.weight": (hidden,)}
    for n in range(made["num_hidden_layers"]):
        layer = f"model.layers.{n}"
        shapes[f"{layer}.attn_norm.weight"] = (hidden,)
        shapes[f"{layer}.attn.q_proj.weight"] = (keys, hidden)
        shapes[f"{layer}.attn.k_proj.weight"] = (keys // groups, hidden)
        shapes[f"{layer}.attn.v_proj.weight"] = (values // groups, hidden)
        if gated:
            shapes[f"{layer}.attn.g_proj.weight"] = (values, hidden)
        if made["elementwise_affine"]:
            norm = "g_norm_swish_gate" if gated and made["fuse_norm"] else "g_norm"
            shapes[f"{layer}.attn.{norm}.weight"] = (values // heads,)
        shapes[f"{layer}.attn.o_proj.weight"] = (hidden, values)
        shapes[f"{layer}.mlp_norm.weight"] = (hidden,)
        shapes[f"{layer}.mlp.gate_proj.weight"] = (inner, hidden)
        shapes[f"{layer}.mlp.up_proj.weight"] = (inner, hidden)
        shapes[f"{layer}.mlp.down_proj.weight"] = (hidden, inner)
    if not made["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (made["vocab_size"], hidden)

    source = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        if len(shape) == 1:
            weights[name] = 0.5 + torch.rand(shape, generator=source, dtype=torch.float64)
        else:
            draw = torch.randn(shape, generator=source, dtype=torch.float64)
            weights[name] = draw if name == "model.embeddings.weight" else draw / shape[-1] ** 0.5
    return made, weights


def logits(config: dict[str, Any], weights: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """Logits [B,T,vocabulary] of tokens [B,T]: h_t = γ h_{t-1} + k_t v_tᵀ, o_t = h_tᵀ q_t / √K, γ = 1 − 2^{−5−head}.

    q and k are turned by their position; each head's o_t is divided by its root mean square, weighted, gated by silu.
    """
    w = {name: weight.double() for name, weight in weights.items()}
    head = w["model.embeddings.weight" if config["tie_word_embeddings"] else "lm_head.weight"]
    rows = []
    for row in tokens:
        memories: list[dict[str, Any]] = [{} for _ in range(config["num_hidden_layers"])]
        ys = []
        for t, token in enumerate(row):
            x = w["model.embeddings.weight"][token]
            for n in range(config["num_hidden_layers"]):
                layer = {name.split(".", 3)[3]: it for name, it in w.items() if name.startswith(f"model.layers.{n}.")}
                z = _norm(x, layer["attn_norm.weight"], config["norm_eps"])
                x = x + _attention(config, layer, z, t, memories[n])
                z = _norm(x, layer["mlp_norm.weight"], config["norm_eps"])
                z = _silu(layer["mlp.gate_proj.weight"] @ z) * (layer["mlp.up_proj.weight"] @ z)
                x = x + layer["mlp.down_proj.weight"] @ z
            ys.append(head @ _norm(x, w["model.norm.weight"], config["norm_eps"]))
        rows.append(torch.stack(ys))
    return torch.stack(rows)


def _attention(config: dict[str, Any], w: dict[str, Tensor], x: Tensor, t: int, memory: dict[str, Any]) -> Tensor:
    heads = config["num_heads"]
    groups = heads // (config["num_kv_heads"] or heads)
    q = (w["attn.q_proj.weight"] @ x).view(heads, -1)
    k, v = ((w[f"attn.{name}_proj.weight"] @ x).view(heads // groups, -1) for name in "kv")
    norm = "g_norm_swish_gate" if config["use_output_gate"] and config["fuse_norm"] else "g_norm"
    outputs = []
    for h in range(heads):
        key, value = _turn(k[h // groups], t), v[h // groups]
        state = memory.get(f"state {h}", torch.zeros(len(key), len(value), dtype=x.dtype))
        state = (1 - 2.0 ** (-5 - h)) * state + key[:, None] * value[None, :]
        memory[f"state {h}"] = state
        y = (_turn(q[h], t) / q.shape[1] ** 0.5) @ state
        outputs.append(_norm(y, w.get(f"attn.{norm}.weight", torch.ones_like(y)), config["norm_eps"]))
    y = torch.cat(outputs)
    if config["use_output_gate"]:
        y = y * _silu(w["attn.g_proj.weight"] @ x)
    return w["attn.o_proj.weight"] @ y


def _turn(z: Tensor, t: int) -> Tensor:
    half = len(z) // 2
    turned = torch.zeros_like(z)
    for j in range(half):
        angle = torch.tensor(t * ROTARY_BASE ** (-j / half), dtype=z.dtype)
        turned[j] = z[j] * torch.cos(angle) - z[j + half] * torch.sin(angle)
        turned[j + half] = z[j] * torch.sin(angle) + z[j + half] * torch.cos(angle)
    return turned


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / (x.square().mean() + eps).sqrt() * weight


def _silu(z: Tensor) -> Tensor:
    return z / (1 + torch.exp(-z))
