"""Mamba-2's published checkpoints (arXiv:2405.21060, section 7.1; keys as transformers 5.23 stores Mamba2ForCausalLM).

Let x be the normed row, [z; u; B; C; δ] = in_proj x, [u; B; C] ← silu(conv1d [u; B; C]). A head has one scalar A_log,
D and dt_bias, u_t of head_dim numbers, and the B and C of its group: consecutive num_heads / n_groups heads share one.
    Δ_t = clamp(softplus(δ_t + dt_bias), time_step_limit),
    h_t = exp(−Δ_t e^{A_log}) h_{t−1} + Δ_t u_t B_tᵀ, y_t = h_t C_t + D u_t, out = out_proj(norm(y_t ∘ silu(z_t))),
added to the residual row. The norm inside the mixer comes after the gate and takes the mean square of each of n_groups
runs of channels apart; the other norms take it of the whole row. All add ε = layer_norm_epsilon below the root.
Neither chunk_size, time_step_rank nor the keys rms_norm and norm_before_gate of some config.json change the result.
Everything stands in float64; the source rounds the residual, the norms, the scan and the logits to float32, and leaves
the clamp out where it decodes one token from a cache.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

# What a config.json that leaves a key out means.
_DEFAULTS: dict[str, object] = {
    "vocab_size": 32768,
    "hidden_size": 4096,
    "state_size": 128,
    "num_hidden_layers": 64,
    "num_heads": 128,
    "head_dim": 64,
    "n_groups": 8,
    "layer_norm_epsilon": 1e-5,
    "expand": 2,
    "conv_kernel": 4,
    "use_bias": False,
    "use_conv_bias": True,
    "hidden_act": "silu",
    "time_step_limit": [0.0, float("inf")],
    "tie_word_embeddings": False,
}


def checkpoint(seed: int = 0, **config: object) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Make config.json and model.safetensors of a tiny random model; a tied head is not stored."""
    told: dict[str, object] = {
        "architectures": ["Mamba2ForCausalLM"],
        "model_type": "mamba2",
        "dtype": "float64",
        "vocab_size": 17,
        "hidden_size": 16,
        "state_size": 5,
        "num_hidden_layers": 2,
        "num_heads": 4,
        "head_dim": 8,
        "n_groups": 2,
        "layer_norm_epsilon": 1e-5,
        "expand": 2,
        "conv_kernel": 4,
        "use_bias": False,
        "use_conv_bias": True,
        "hidden_act": "silu",
        "residual_in_fp32": True,
        "time_step_limit": [0.0, float("inf")],
        "chunk_size": 256,
        "tie_word_embeddings": False,
        **config,
    }
    full = _filled(told)
    width, inner, heads = full["hidden_size"], full["expand"] * full["hidden_size"], full["num_heads"]
    convolved = inner + 2 * full["n_groups"] * full["state_size"]
    dice = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return torch.randn(*shape, generator=dice, dtype=torch.float64) * scale

    def between(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=dice, dtype=torch.float64)

    weights = {"backbone.embeddings.weight": normal(full["vocab_size"], width)}
    for layer in range(full["num_hidden_layers"]):
        block, mixer = f"backbone.layers.{layer}", f"backbone.layers.{layer}.mixer"
        weights[f"{block}.norm.weight"] = between(0.5, 1.5, width)
        weights[f"{mixer}.in_proj.weight"] = normal(inner + convolved + heads, width, scale=width**-0.5)
        weights[f"{mixer}.conv1d.weight"] = normal(convolved, 1, full["conv_kernel"], scale=0.5)
        weights[f"{mixer}.dt_bias"] = between(-3.0, 0.0, heads)
        weights[f"{mixer}.A_log"] = between(-1.0, 1.5, heads)
        weights[f"{mixer}.D"] = between(0.5, 1.5, heads)
        weights[f"{mixer}.norm.weight"] = between(0.5, 1.5, inner)
        weights[f"{mixer}.out_proj.weight"] = normal(width, inner, scale=inner**-0.5)
        if full["use_bias"]:
            weights[f"{mixer}.in_proj.bias"] = normal(inner + convolved + heads, scale=0.3)
            weights[f"{mixer}.out_proj.bias"] = normal(width, scale=0.3)
        if full["use_conv_bias"]:
            weights[f"{mixer}.conv1d.bias"] = normal(convolved, scale=0.3)
    weights["backbone.norm_f.weight"] = between(0.5, 1.5, width)
    if not full["tie_word_embeddings"]:
        weights["lm_head.weight"] = normal(full["vocab_size"], width, scale=0.5)
    return told, weights


def logits(config: dict, weights: dict[str, Tensor], tokens: Tensor) -> Tensor:
    """Logits [B,T,vocabulary] of tokens [B,T], one row, one token and one head at a time."""
    config = _filled(config)
    weights = {name: weight.double() for name, weight in weights.items()}
    epsilon, layers = config["layer_norm_epsilon"], range(config["num_hidden_layers"])
    convolved = config["num_heads"] * config["head_dim"] + 2 * config["n_groups"] * config["state_size"]
    rows = []
    for row in tokens:
        windows = [torch.zeros(config["conv_kernel"], convolved).double() for _ in layers]
        memories = [
            [torch.zeros(config["head_dim"], config["state_size"]).double() for _ in range(config["num_heads"])]
            for _ in layers
        ]
        said = []
        for token in row:
            x = weights["backbone.embeddings.weight"][token]
            for layer in layers:
                block = f"backbone.layers.{layer}"
                normed = _norm(x, epsilon) * weights[f"{block}.norm.weight"]
                y, windows[layer], memories[layer] = _mixer(
                    normed, weights, f"{block}.mixer", (windows[layer], memories[layer]), config
                )
                x = x + y
            x = _norm(x, epsilon) * weights["backbone.norm_f.weight"]
            head = "backbone.embeddings.weight" if config["tie_word_embeddings"] else "lm_head.weight"
            said.append(weights[head] @ x)
        rows.append(torch.stack(said))
    return torch.stack(rows)


def _mixer(
    x: Tensor, weights: dict[str, Tensor], at: str, state: tuple[Tensor, list[Tensor]], config: dict
) -> tuple[Tensor, Tensor, list[Tensor]]:
    heads, groups, size = config["num_heads"], config["n_groups"], config["state_size"]
    window, memory = state
    inner = heads * config["head_dim"]
    made = weights[f"{at}.in_proj.weight"] @ x
    if config["use_bias"]:
        made = made + weights[f"{at}.in_proj.bias"]
    z, made, step = made.split([inner, inner + 2 * groups * size, heads])
    # The last tap of the kernel is the present token's.
    window = torch.cat([window[1:], made[None]])
    made = (window * weights[f"{at}.conv1d.weight"][:, 0].T).sum(0)
    if config["use_conv_bias"]:
        made = made + weights[f"{at}.conv1d.bias"]
    u, b, c = F.silu(made).split([inner, groups * size, groups * size])
    u, b, c = u.view(heads, -1), b.view(groups, size), c.view(groups, size)
    least, most = config["time_step_limit"]
    kept, ys = [], []
    for head in range(heads):
        group = head // (heads // groups)
        delta = F.softplus(step[head] + weights[f"{at}.dt_bias"][head]).clamp(least, most)
        decay = torch.exp(-delta * torch.exp(weights[f"{at}.A_log"][head]))
        kept.append(decay * memory[head] + delta * torch.outer(u[head], b[group]))
        ys.append(kept[head] @ c[group] + weights[f"{at}.D"][head] * u[head])
    y = torch.cat(ys) * F.silu(z)
    y = torch.cat([_norm(part, config["layer_norm_epsilon"]) for part in y.chunk(groups)])
    y = weights[f"{at}.out_proj.weight"] @ (weights[f"{at}.norm.weight"] * y)
    if config["use_bias"]:
        y = y + weights[f"{at}.out_proj.bias"]
    return y, window, kept


def _norm(x: Tensor, epsilon: float) -> Tensor:
    return x / (x.square().mean() + epsilon).sqrt()


def _filled(config: dict) -> dict:
    full = _DEFAULTS | config
    if full["hidden_act"] != "silu":
        raise ValueError(f"hidden_act is {full['hidden_act']}; this form knows silu alone")
    if full["num_heads"] * full["head_dim"] != full["expand"] * full["hidden_size"]:
        raise ValueError("num_heads · head_dim must be expand · hidden_size")
    # Newer files write an infinity as {"__float__": "Infinity"}, older ones as a bare Infinity.
    full["time_step_limit"] = [
        float(limit["__float__"] if isinstance(limit, dict) else limit) for limit in full["time_step_limit"]
    ]
    return full
