"""Mamba's published checkpoints (arXiv:2312.00752, algorithm 2; keys as transformers 5.23 stores MambaForCausalLM).

Let x be the normed row, [u; z] = in_proj x, u ← silu(conv1d u), [δ; B; C] = x_proj u, Δ = softplus(dt_proj δ):
    h_t = exp(−Δ_t e^{A_log}) h_{t−1} + Δ_t u_t B_tᵀ, y_t = h_t C_t + D u_t, out = out_proj(y_t ∘ silu(z_t)),
added to the residual row; every norm is x / √(mean x² + ε) ∘ weight with ε = layer_norm_epsilon.
Everything stands in float64. The source rounds the residual, the norms, A and the logits to float32.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

# What a config.json that leaves a key out means.
_DEFAULTS: dict[str, object] = {
    "vocab_size": 50280,
    "hidden_size": 768,
    "state_size": 16,
    "num_hidden_layers": 32,
    "layer_norm_epsilon": 1e-5,
    "expand": 2,
    "conv_kernel": 4,
    "use_bias": False,
    "use_conv_bias": True,
    "hidden_act": "silu",
    "time_step_rank": "auto",
    "tie_word_embeddings": True,
}


def checkpoint(seed: int = 0, **config: object) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Make config.json and model.safetensors of a tiny random model; a tied head is not stored."""
    told: dict[str, object] = {
        "architectures": ["MambaForCausalLM"],
        "model_type": "mamba",
        "dtype": "float64",
        "vocab_size": 17,
        "hidden_size": 16,
        "state_size": 5,
        "num_hidden_layers": 2,
        "layer_norm_epsilon": 1e-5,
        "expand": 2,
        "conv_kernel": 4,
        "use_bias": False,
        "use_conv_bias": True,
        "hidden_act": "silu",
        "residual_in_fp32": True,
        "time_step_rank": 3,
        "tie_word_embeddings": True,
        **config,
    }
    full = _filled(told)
    told["time_step_rank"], told["intermediate_size"] = full["time_step_rank"], full["intermediate_size"]
    width, inner, state, rank = (
        full[name] for name in ("hidden_size", "intermediate_size", "state_size", "time_step_rank")
    )
    dice = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return torch.randn(*shape, generator=dice, dtype=torch.float64) * scale

    def between(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=dice, dtype=torch.float64)

    weights = {"backbone.embeddings.weight": normal(full["vocab_size"], width)}
    for layer in range(full["num_hidden_layers"]):
        block, mixer = f"backbone.layers.{layer}", f"backbone.layers.{layer}.mixer"
        weights[f"{block}.norm.weight"] = between(0.5, 1.5, width)
        weights[f"{mixer}.in_proj.weight"] = normal(2 * inner, width, scale=width**-0.5)
        weights[f"{mixer}.conv1d.weight"] = normal(inner, 1, full["conv_kernel"], scale=0.5)
        weights[f"{mixer}.x_proj.weight"] = normal(rank + 2 * state, inner, scale=2 * inner**-0.5)
        weights[f"{mixer}.dt_proj.weight"] = normal(inner, rank, scale=rank**-0.5)
        weights[f"{mixer}.dt_proj.bias"] = between(-3.0, 0.0, inner)
        weights[f"{mixer}.A_log"] = between(-1.0, 1.5, inner, state)
        weights[f"{mixer}.D"] = between(0.5, 1.5, inner)
        weights[f"{mixer}.out_proj.weight"] = normal(width, inner, scale=inner**-0.5)
        if full["use_bias"]:
            weights[f"{mixer}.in_proj.bias"] = normal(2 * inner, scale=0.3)
            weights[f"{mixer}.out_proj.bias"] = normal(width, scale=0.3)
        if full["use_conv_bias"]:
            weights[f"{mixer}.conv1d.bias"] = normal(inner, scale=0.3)
    weights["backbone.norm_f.weight"] = between(0.5, 1.5, width)
    if not full["tie_word_embeddings"]:
        weights["lm_head.weight"] = normal(full["vocab_size"], width, scale=0.5)
    return told, weights


def logits(config: dict, weights: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """Logits [B,T,vocabulary] of tokens [B,T], one row and one token at a time."""
    config = _filled(config)
    weights = {name: weight.double() for name, weight in weights.items()}
    inner, layers = config["intermediate_size"], range(config["num_hidden_layers"])
    rows = []
    for row in tokens:
        windows = [torch.zeros(config["conv_kernel"], inner).double() for _ in layers]
        memories = [torch.zeros(inner, config["state_size"]).double() for _ in layers]
        said = []
        for token in row:
            x = weights["backbone.embeddings.weight"][token]
            for layer in layers:
                block = f"backbone.layers.{layer}"
                normed = _norm(x, weights[f"{block}.norm.weight"], config)
                y, windows[layer], memories[layer] = _mixer(
                    normed, weights, f"{block}.mixer", (windows[layer], memories[layer]), config
                )
                x = x + y
            x = _norm(x, weights["backbone.norm_f.weight"], config)
            head = "backbone.embeddings.weight" if config["tie_word_embeddings"] else "lm_head.weight"
            said.append(weights[head] @ x)
        rows.append(torch.stack(said))
    return torch.stack(rows)


def _mixer(
    x: Tensor, weights: dict[str, Tensor], at: str, state: tuple[Tensor, Tensor], config: dict
) -> tuple[Tensor, Tensor, Tensor]:
    rank, size = config["time_step_rank"], config["state_size"]
    window, memory = state
    made = weights[f"{at}.in_proj.weight"] @ x
    if config["use_bias"]:
        made = made + weights[f"{at}.in_proj.bias"]
    u, z = made.chunk(2)
    # The last tap of the kernel is the present token's.
    window = torch.cat([window[1:], u[None]])
    u = (window * weights[f"{at}.conv1d.weight"][:, 0].T).sum(0)
    if config["use_conv_bias"]:
        u = u + weights[f"{at}.conv1d.bias"]
    u = F.silu(u)
    step, b, c = (weights[f"{at}.x_proj.weight"] @ u).split([rank, size, size])
    delta = F.softplus(weights[f"{at}.dt_proj.weight"] @ step + weights[f"{at}.dt_proj.bias"])
    decay = torch.exp(-delta[:, None] * torch.exp(weights[f"{at}.A_log"]))
    memory = decay * memory + (delta * u)[:, None] * b
    y = (memory @ c + weights[f"{at}.D"] * u) * F.silu(z)
    y = weights[f"{at}.out_proj.weight"] @ y
    if config["use_bias"]:
        y = y + weights[f"{at}.out_proj.bias"]
    return y, window, memory


def _norm(x: Tensor, weight: Tensor, config: dict) -> Tensor:
    return x / (x.square().mean() + config["layer_norm_epsilon"]).sqrt() * weight


def _filled(config: dict) -> dict:
    full = _DEFAULTS | config
    if full["hidden_act"] != "silu":
        raise ValueError(f"hidden_act is {full['hidden_act']}; this form knows silu alone")
    if full["time_step_rank"] == "auto":
        full["time_step_rank"] = math.ceil(full["hidden_size"] / 16)
    # A written intermediate_size wins over expand.
    full.setdefault("intermediate_size", full["expand"] * full["hidden_size"])
    return full
