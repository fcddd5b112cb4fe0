"""HGRN2 (arXiv:2404.07904) as flash-linear-attention 0.6 stores HGRN2ForCausalLM, from torch alone."""

from typing import Any

import torch
from torch import Tensor

# The norm before the output projection does not read norm_eps of the config.
OUTPUT_NORM_EPS = 1e-5


def checkpoint(seed: int = 0, **config: Any) -> tuple[dict[str, object], dict[str, Tensor]]:
    """A small random config.json and the float64 weights of its model.safetensors; keywords replace config keys."""
    made: dict[str, Any] = {
        "architectures": ["HGRN2ForCausalLM"],
        "model_type": "hgrn2",
        "attn": None,
        "attn_mode": "chunk",
        "conv_size": 4,
        "elementwise_affine": True,
        "expand_ratio": 8,
        "fuse_norm": True,
        "hidden_act": "swish",
        "hidden_ratio": 4,
        "hidden_size": 32,
        "intermediate_size": 24,
        "norm_eps": 1e-6,
        "num_heads": None,
        "num_hidden_layers": 3,
        "tie_word_embeddings": False,
        "use_lower_bound": True,
        "use_short_conv": False,
        "vocab_size": 17,
    } | config
    hidden = made["hidden_size"]
    if made["expand_ratio"] is None:
        made["expand_ratio"] = hidden // made["num_heads"]
    elif made["num_heads"] is None:
        made["num_heads"] = hidden // made["expand_ratio"]
    forget = hidden // made["expand_ratio"] * made["expand_ratio"]
    inner = made["intermediate_size"]
    if inner is None:
        inner = -(-int(hidden * (made["hidden_ratio"] or 4) * 2 / 3) // 256) * 256

    shapes = {"model.embeddings.weight": (made["vocab_size"], hidden), "model.norm.weight": (hidden,)}
    if made["use_lower_bound"]:
        shapes["model.lower_bounds"] = (made["num_hidden_layers"], hidden)
    for n in range(made["num_hidden_layers"]):
        layer = f"model.layers.{n}"
        shapes[f"{layer}.attn_norm.weight"] = (hidden,)
        for name, width in (("q", forget), ("f", forget), ("i", hidden)):
            shapes[f"{layer}.attn.{name}_proj.weight"] = (width, hidden)
            if made["use_short_conv"]:
                shapes[f"{layer}.attn.{name}_conv1d.weight"] = (width, 1, made["conv_size"])
        if made["elementwise_affine"]:
            shapes[f"{layer}.attn.g_norm.weight"] = (hidden,)
        shapes[f"{layer}.attn.o_proj.weight"] = (hidden, hidden)
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
            wide = name in ("model.embeddings.weight", "model.lower_bounds")
            weights[name] = draw if wide else draw / shape[-1] ** 0.5
    return made, weights


def logits(config: dict[str, Any], weights: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """Logits [B,T,vocabulary] of tokens [B,T]: h_t = diag(f_t) h_{t-1} + (1 − f_t) i_tᵀ, o_t = h_tᵀ silu(q_t) / √K.

    f_t = b + (1 − b) σ(·); the bound b of layer l sums softmax(lower_bounds) over the layers 1 … l, so 0 in layer 0.
    All heads of o_t together are divided by their root mean square.
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
                bound = torch.zeros_like(x[:1])
                if config["use_lower_bound"] and n > 0:
                    share = w["model.lower_bounds"].exp() / w["model.lower_bounds"].exp().sum(0)
                    bound = share[1 : n + 1].sum(0)
                layer = {name.split(".", 3)[3]: it for name, it in w.items() if name.startswith(f"model.layers.{n}.")}
                z = _norm(x, layer["attn_norm.weight"], config["norm_eps"])
                x = x + _attention(config, layer, z, bound, memories[n])
                z = _norm(x, layer["mlp_norm.weight"], config["norm_eps"])
                z = _silu(layer["mlp.gate_proj.weight"] @ z) * (layer["mlp.up_proj.weight"] @ z)
                x = x + layer["mlp.down_proj.weight"] @ z
            ys.append(head @ _norm(x, w["model.norm.weight"], config["norm_eps"]))
        rows.append(torch.stack(ys))
    return torch.stack(rows)


def _attention(
    config: dict[str, Any], w: dict[str, Tensor], x: Tensor, bound: Tensor, memory: dict[str, Any]
) -> Tensor:
    q, f, i = (w[f"attn.{name}_proj.weight"] @ x for name in "qfi")
    if config["use_short_conv"]:
        q, f, i = (_convolve(config, w, memory, name, z) for name, z in (("q", q), ("f", f), ("i", i)))
    q = _silu(q)
    f = bound + (1 - bound) / (1 + torch.exp(-f))

    heads = config["hidden_size"] // config["expand_ratio"]
    q, f, i = (z.view(heads, -1) for z in (q, f, i))
    outputs = []
    for h in range(heads):
        state = memory.get(f"state {h}", torch.zeros(f.shape[1], i.shape[1], dtype=x.dtype))
        state = f[h][:, None] * state + (1 - f[h])[:, None] * i[h][None, :]
        memory[f"state {h}"] = state
        outputs.append((q[h] / q.shape[1] ** 0.5) @ state)
    y = torch.cat(outputs)
    return w["attn.o_proj.weight"] @ _norm(y, w.get("attn.g_norm.weight", torch.ones_like(y)), OUTPUT_NORM_EPS)


def _convolve(config: dict[str, Any], w: dict[str, Tensor], memory: dict[str, Any], name: str, z: Tensor) -> Tensor:
    past = [*memory.get(f"past {name}", [torch.zeros_like(z)] * config["conv_size"])[1:], z]
    memory[f"past {name}"] = past
    return torch.stack([w[f"attn.{name}_conv1d.weight"][:, 0, j] * past[j] for j in range(config["conv_size"])]).sum(0)


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / (x.square().mean() + eps).sqrt() * weight


def _silu(z: Tensor) -> Tensor:
    return z / (1 + torch.exp(-z))
