"""Gated linear attention (arXiv:2312.06635) as flash-linear-attention 0.6 stores GLAForCausalLM, from torch alone."""

from typing import Any

import torch
from torch import Tensor

LOGIT_DIVISOR = 16
LOW_RANK = 16


def checkpoint(seed: int = 0, **config: Any) -> tuple[dict[str, object], dict[str, Tensor]]:
    """A small random config.json and the float64 weights of its model.safetensors; keywords replace config keys.

    The gate's low rank and the divisor of its logarithm, 16 each, are the layer's defaults and no config keys.
    """
    made: dict[str, Any] = {
        "architectures": ["GLAForCausalLM"],
        "model_type": "gla",
        "attn": None,
        "attn_mode": "chunk",
        "clamp_min": None,
        "conv_size": 4,
        "elementwise_affine": True,
        "expand_k": 0.5,
        "expand_v": 1.0,
        "feature_map": None,
        "fuse_norm": True,
        "hidden_act": "swish",
        "hidden_ratio": 4,
        "hidden_size": 32,
        "intermediate_size": 24,
        "norm_eps": 1e-6,
        "num_heads": 4,
        "num_hidden_layers": 2,
        "num_kv_heads": None,
        "tie_word_embeddings": False,
        "use_gk": True,
        "use_gv": False,
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
        shapes[f"{layer}.attn.gk_proj.0.weight"] = (LOW_RANK, hidden)
        shapes[f"{layer}.attn.gk_proj.1.weight"] = (keys // groups, LOW_RANK)
        shapes[f"{layer}.attn.gk_proj.1.bias"] = (keys // groups,)
        if gated:
            shapes[f"{layer}.attn.g_proj.weight"] = (values, hidden)
        if made["use_short_conv"]:
            shapes[f"{layer}.attn.q_conv1d.weight"] = (keys, 1, made["conv_size"])
            shapes[f"{layer}.attn.k_conv1d.weight"] = (keys // groups, 1, made["conv_size"])
            shapes[f"{layer}.attn.v_conv1d.weight"] = (values // groups, 1, made["conv_size"])
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
        if name.endswith("gk_proj.1.bias"):
            weights[name] = -24 * torch.rand(shape, generator=source, dtype=torch.float64)
        elif len(shape) == 1:
            weights[name] = 0.5 + torch.rand(shape, generator=source, dtype=torch.float64)
        else:
            draw = torch.randn(shape, generator=source, dtype=torch.float64)
            weights[name] = draw if name == "model.embeddings.weight" else draw / shape[-1] ** 0.5
    return made, weights


def logits(config: dict[str, Any], weights: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """Logits [B,T,vocabulary] of tokens [B,T]: h_t = diag(α_t) h_{t-1} + k_t v_tᵀ, o_t = h_tᵀ q_t / √K.

    α_t = σ(·)^{1/16}, of two matrices of low rank. Each head's o_t is divided by its root mean square, weighted, then
    gated by silu.
    """
    w = {name: weight.double() for name, weight in weights.items()}
    head = w["model.embeddings.weight" if config["tie_word_embeddings"] else "lm_head.weight"]
    rows = []
    for row in tokens:
        memories: list[dict[str, Any]] = [{} for _ in range(config["num_hidden_layers"])]
        ys = []
        for token in row:
            x = w["model.embeddings.weight"][token]
            for n in range(config["num_hidden_layers"]):
                layer = {name.split(".", 3)[3]: it for name, it in w.items() if name.startswith(f"model.layers.{n}.")}
                x = x + _attention(config, layer, _norm(x, layer["attn_norm.weight"], config["norm_eps"]), memories[n])
                z = _norm(x, layer["mlp_norm.weight"], config["norm_eps"])
                z = _silu(layer["mlp.gate_proj.weight"] @ z) * (layer["mlp.up_proj.weight"] @ z)
                x = x + layer["mlp.down_proj.weight"] @ z
            ys.append(head @ _norm(x, w["model.norm.weight"], config["norm_eps"]))
        rows.append(torch.stack(ys))
    return torch.stack(rows)


def _attention(config: dict[str, Any], w: dict[str, Tensor], x: Tensor, memory: dict[str, Any]) -> Tensor:
    q, k, v = (w[f"attn.{name}_proj.weight"] @ x for name in "qkv")
    if config["use_short_conv"]:
        q, k, v = (_silu(_convolve(config, w, memory, name, z)) for name, z in (("q", q), ("k", k), ("v", v)))
    gate = w["attn.gk_proj.1.weight"] @ (w["attn.gk_proj.0.weight"] @ x) + w["attn.gk_proj.1.bias"]
    log_decay = -torch.log1p(torch.exp(-gate)) / LOGIT_DIVISOR
    if config["clamp_min"] is not None:
        log_decay = log_decay.clamp(min=config["clamp_min"])

    heads = config["num_heads"]
    groups = heads // (config["num_kv_heads"] or heads)
    q = q.view(heads, -1)
    k, v, decay = (z.view(heads // groups, -1) for z in (k, v, log_decay.exp()))
    norm = "g_norm_swish_gate" if config["use_output_gate"] and config["fuse_norm"] else "g_norm"
    outputs = []
    for h in range(heads):
        shared = h // groups
        state = memory.get(f"state {h}", torch.zeros(k.shape[1], v.shape[1], dtype=x.dtype))
        state = decay[shared][:, None] * state + k[shared][:, None] * v[shared][None, :]
        memory[f"state {h}"] = state
        y = (q[h] / q.shape[1] ** 0.5) @ state
        outputs.append(_norm(y, w.get(f"attn.{norm}.weight", torch.ones_like(y)), config["norm_eps"]))
    y = torch.cat(outputs)
    if config["use_output_gate"]:
        y = y * _silu(w["attn.g_proj.weight"] @ x)
    return w["attn.o_proj.weight"] @ y


def _convolve(config: dict[str, Any], w: dict[str, Tensor], memory: dict[str, Any], name: str, z: Tensor) -> Tensor:
    past = [*memory.get(f"past {name}", [torch.zeros_like(z)] * config["conv_size"])[1:], z]
    memory[f"past {name}"] = past
    return torch.stack([w[f"attn.{name}_conv1d.weight"][:, 0, j] * past[j] for j in range(config["conv_size"])]).sum(0)


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / (x.square().mean() + eps).sqrt() * weight


def _silu(z: Tensor) -> Tensor:
    return z / (1 + torch.exp(-z))
