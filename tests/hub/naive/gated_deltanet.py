"""Gated DeltaNet (arXiv:2412.06464) as flash-linear-attention 0.6 stores GatedDeltaNetForCausalLM, from torch alone."""

from typing import Any

import torch
from torch import Tensor

UNIT_EPS = 1e-6


def checkpoint(seed: int = 0, **config: Any) -> tuple[dict[str, object], dict[str, Tensor]]:
    """A small random config.json and the float64 weights of its model.safetensors; keywords replace config keys.

    The convolutions bear no bias: the layer knows one, the model and its config do not.
    """
    made: dict[str, Any] = {
        "architectures": ["GatedDeltaNetForCausalLM"],
        "model_type": "gated_deltanet",
        "allow_neg_eigval": False,
        "attn": None,
        "attn_mode": "chunk",
        "conv_size": 4,
        "expand_v": 2.0,
        "fuse_norm": True,
        "head_dim": 6,
        "hidden_act": "swish",
        "hidden_ratio": 4,
        "hidden_size": 32,
        "intermediate_size": 24,
        "norm_eps": 1e-6,
        "num_heads": 2,
        "num_hidden_layers": 2,
        "num_v_heads": None,
        "output_gate_activation": "swish",
        "tie_word_embeddings": False,
        "use_gate": True,
        "use_short_conv": True,
        "vocab_size": 17,
    } | config
    hidden, value = made["hidden_size"], int(made["head_dim"] * made["expand_v"])
    heads = made["num_v_heads"] or made["num_heads"]
    keys, values = made["num_heads"] * made["head_dim"], heads * value
    inner = made["intermediate_size"]
    if inner is None:
        inner = -(-int(hidden * (made["hidden_ratio"] or 4) * 2 / 3) // 256) * 256

    shapes = {"model.embeddings.weight": (made["vocab_size"], hidden), "model.norm.weight": (hidden,)}
    for n in range(made["num_hidden_layers"]):
        layer = f"model.layers.{n}"
        shapes[f"{layer}.attn_norm.weight"] = (hidden,)
        shapes[f"{layer}.attn.A_log"] = (heads,)
        shapes[f"{layer}.attn.dt_bias"] = (heads,)
        shapes[f"{layer}.attn.a_proj.weight"] = (heads, hidden)
        shapes[f"{layer}.attn.b_proj.weight"] = (heads, hidden)
        for name, width in (("q", keys), ("k", keys), ("v", values)):
            shapes[f"{layer}.attn.{name}_proj.weight"] = (width, hidden)
            if made["use_short_conv"]:
                shapes[f"{layer}.attn.{name}_conv1d.weight"] = (width, 1, made["conv_size"])
        if made["use_gate"]:
            shapes[f"{layer}.attn.g_proj.weight"] = (values, hidden)
        shapes[f"{layer}.attn.o_norm.weight"] = (value,)
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
        if name.endswith(("A_log", "dt_bias")):
            weights[name] = 2 * torch.rand(shape, generator=source, dtype=torch.float64) - 1.5
        elif len(shape) == 1:
            weights[name] = 0.5 + torch.rand(shape, generator=source, dtype=torch.float64)
        else:
            draw = torch.randn(shape, generator=source, dtype=torch.float64)
            weights[name] = draw if name == "model.embeddings.weight" else draw / shape[-1] ** 0.5
    return made, weights


def logits(config: dict[str, Any], weights: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """Logits [B,T,vocabulary] of tokens [B,T]: h = α h_{t-1}, h_t = h + k_t (β (v_t − hᵀ k_t))ᵀ, o_t = h_tᵀ q_t / √K.

    q and k are unit vectors, α = exp(−exp(A_log) softplus(a_t + dt_bias)), β = σ(b_t), twice that if allow_neg_eigval.
    Each head's o_t is divided by its root mean square, weighted, then gated.
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
        q, k, v = (_convolve(config, w, memory, name, z) for name, z in (("q", q), ("k", k), ("v", v)))
    q, k, v = _silu(q), _silu(k), _silu(v)
    step = torch.log1p(torch.exp(w["attn.a_proj.weight"] @ x + w["attn.dt_bias"]))
    decay = torch.exp(-torch.exp(w["attn.A_log"]) * step)
    beta = torch.sigmoid(w["attn.b_proj.weight"] @ x) * (2 if config["allow_neg_eigval"] else 1)

    heads = config["num_v_heads"] or config["num_heads"]
    q, k = q.view(config["num_heads"], -1), k.view(config["num_heads"], -1)
    v = v.view(heads, -1)
    outputs = []
    for h in range(heads):
        shared = h // (heads // config["num_heads"])
        query = q[shared] / (q[shared].square().sum() + UNIT_EPS).sqrt() / q.shape[1] ** 0.5
        key = k[shared] / (k[shared].square().sum() + UNIT_EPS).sqrt()
        state = decay[h] * memory.get(f"state {h}", torch.zeros(k.shape[1], v.shape[1], dtype=x.dtype))
        state = state + key[:, None] * (beta[h] * (v[h] - key @ state))[None, :]
        memory[f"state {h}"] = state
        outputs.append(_norm(query @ state, w["attn.o_norm.weight"], config["norm_eps"]))
    y = torch.cat(outputs)
    if config["use_gate"]:
        gate = w["attn.g_proj.weight"] @ x
        y = y * (torch.sigmoid(gate) if config["output_gate_activation"] == "sigmoid" else _silu(gate))
    return w["attn.o_proj.weight"] @ y


def _convolve(config: dict[str, Any], w: dict[str, Tensor], memory: dict[str, Any], name: str, z: Tensor) -> Tensor:
    past = [*memory.get(f"past {name}", [torch.zeros_like(z)] * config["conv_size"])[1:], z]
    memory[f"past {name}"] = past
    return torch.stack([w[f"attn.{name}_conv1d.weight"][:, 0, j] * past[j] for j in range(config["conv_size"])]).sum(0)


def _norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x / (x.square().mean() + eps).sqrt() * weight


def _silu(z: Tensor) -> Tensor:
    return z / (1 + torch.exp(-z))
