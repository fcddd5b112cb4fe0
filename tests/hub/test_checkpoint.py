"""Public checkpoints of every known layout give the logits of a naive form of that layout, in float64."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from eos import registry
from eos.compose.reader import read_recipe
from eos.errors import EOSError, RecipeError, RunError
from eos.hub import load_checkpoint
from tests.hub.naive import gated_deltanet, gla, hgrn2, mamba, mamba2, retnet, rwkv

NAIVE = {
    "mamba": mamba,
    "mamba2": mamba2,
    "rwkv": rwkv,
    "gla": gla,
    "hgrn2": hgrn2,
    "retnet": retnet,
    "gated_deltanet": gated_deltanet,
}
#: model_type → changes of config.json, one checkpoint each
CASES: dict[str, list[dict[str, Any]]] = {
    "mamba": [
        {},
        {"tie_word_embeddings": False},
        {"use_conv_bias": False, "conv_kernel": 3},
        {"layer_norm_epsilon": 1e-2, "expand": 3, "time_step_rank": 3},
    ],
    "mamba2": [{}, {"n_groups": 1}, {"n_groups": 2, "layer_norm_epsilon": 1e-2}, {"tie_word_embeddings": True}],
    "rwkv": [{}, {"tie_word_embeddings": True}, {"intermediate_size": 20}],
    "gla": [
        {},
        {"use_short_conv": True, "conv_size": 3},
        {"fuse_norm": False, "tie_word_embeddings": True},
        {"use_output_gate": False},
        {"norm_eps": 0.1, "expand_k": 1.0, "expand_v": 2.0},
    ],
    "hgrn2": [{}, {"use_lower_bound": False}, {"norm_eps": 0.1, "tie_word_embeddings": True}],
    "retnet": [{}, {"fuse_norm": False}, {"use_output_gate": False}, {"norm_eps": 0.1, "tie_word_embeddings": True}],
    "gated_deltanet": [
        {},
        {"allow_neg_eigval": True, "norm_eps": 0.1},
        {"num_v_heads": 4},
        {"use_short_conv": False, "use_gate": False},
        {"output_gate_activation": "sigmoid", "tie_word_embeddings": True},
    ],
}
WALK = [
    pytest.param(name, changes, id=f"{name}-{index}")
    for name, all_ in CASES.items()
    for index, changes in enumerate(all_)
]
Write = Callable[..., tuple[Path, dict[str, Any], dict[str, Tensor]]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """``write("gla", num_heads=2)`` writes a tiny random checkpoint; its folder, config.json and weights."""

    def folder(name: str, **changes: Any) -> tuple[Path, dict[str, Any], dict[str, Tensor]]:
        config, weights = NAIVE[name].checkpoint(**changes)
        save(tmp_path, config, weights)
        return tmp_path, config, weights

    return folder


def save(folder: Path, config: dict[str, Any], weights: dict[str, Tensor]) -> None:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file({name: weight.contiguous() for name, weight in weights.items()}, folder / "model.safetensors")


def test_every_layout_has_a_naive_form() -> None:
    layouts = [read_recipe(path) for path in registry.recipes("checkpoint").values()]
    assert {layout["model_type"] for layout in layouts} == NAIVE.keys() == CASES.keys()


@pytest.mark.parametrize(("name", "changes"), WALK)
def test_logits(write: Write, name: str, changes: dict[str, Any]) -> None:
    folder, config, weights = write(name, **changes)
    model = load_checkpoint(folder, dtype=torch.float64)
    tokens = torch.randint(config["vocab_size"], (2, 11), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model(tokens), NAIVE[name].logits(config, weights, tokens), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("name", sorted(CASES))
def test_no_weight_is_missing_left_over_or_of_another_shape(write: Write, name: str) -> None:
    folder, config, weights = write(name)
    victim = sorted(weights)[-1]
    save(folder, config, {key: weight for key, weight in weights.items() if key != victim})
    with pytest.raises(EOSError, match=f"missing {victim}|has no weight {victim}"):
        load_checkpoint(folder)
    save(folder, config, {**weights, "model.another": torch.zeros(3)})
    with pytest.raises(RunError, match=r"unexpected model\.another"):
        load_checkpoint(folder)
    matrix = next(key for key in sorted(weights) if "layers.1." in key or "blocks.1." in key)
    save(folder, config, {**weights, matrix: torch.cat([weights[matrix], weights[matrix][:1]])})
    with pytest.raises(RunError, match=f"{matrix}.* does not hold"):
        load_checkpoint(folder)


def test_several_files_with_an_index(write: Write) -> None:
    folder, config, weights = write("gla")
    whole = load_checkpoint(folder, dtype=torch.float64)
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    places = {name: f"model-0000{1 + index % 2}-of-00002.safetensors" for index, name in enumerate(names)}
    for file in set(places.values()):
        save_file({name: weights[name].contiguous() for name in names if places[name] == file}, folder / file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}), encoding="utf-8")
    tokens = torch.arange(11)[None] % config["vocab_size"]
    assert torch.equal(load_checkpoint(folder, dtype=torch.float64)(tokens), whole(tokens))
    # an index does not lead out of the folder
    index.write_text(json.dumps({"weight_map": {names[0]: "../../secret.safetensors"}}), encoding="utf-8")
    with pytest.raises(RunError, match=f"cannot read weights from {folder}/secret.safetensors"):
        load_checkpoint(folder)


def test_a_tied_head_that_stands_in_the_file_must_be_the_embedding(write: Write) -> None:
    folder, config, weights = write("gla", tie_word_embeddings=True)
    save(folder, config, {**weights, "lm_head.weight": weights["model.embeddings.weight"].clone()})
    load_checkpoint(folder, dtype=torch.float64)
    save(folder, config, {**weights, "lm_head.weight": weights["model.embeddings.weight"] + 1})
    with pytest.raises(RunError, match=r"tie_word_embeddings, but lm_head\.weight is not the embedding"):
        load_checkpoint(folder)


def test_infinity_is_read_in_both_spellings(write: Write) -> None:
    folder, config, weights = write("mamba2")
    for limit in ([0.0, float("inf")], [0.0, {"__float__": "Infinity"}]):
        save(folder, {**config, "time_step_limit": limit}, weights)
        load_checkpoint(folder)
    save(folder, {**config, "time_step_limit": [0.0, 0.5]}, weights)
    with pytest.raises(RecipeError, match=r"time_step_limit is \[0.0, 0.5\]"):
        load_checkpoint(folder)


def test_what_no_composition_does_is_refused(write: Write) -> None:
    folder, config, weights = write("gla")
    save(folder, {**config, "attn": {"layers": [1]}}, weights)
    with pytest.raises(RecipeError, match=r"attn is .* are read with attn in"):
        load_checkpoint(folder)
    save(folder, {**config, "model_type": "gls"}, weights)
    with pytest.raises(RecipeError, match="unknown model_type 'gls'"):
        load_checkpoint(folder)
    (folder / "config.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(RecipeError, match="must be a mapping"):
        load_checkpoint(folder)


def test_pickled_and_damaged_weights_are_refused(write: Write) -> None:
    folder, _, weights = write("gla")
    file = folder / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(RunError, match="cannot read weights from"):
        load_checkpoint(folder)
    file.unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(RunError, match=r"pytorch_model\.bin may run code"):
        load_checkpoint(folder)
    (folder / "model.safetensors.index.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RunError, match="is no index of weights"):
        load_checkpoint(folder)


@pytest.mark.parametrize(("key", "value"), [("hidden_size", 0), ("hidden_size", "many"), ("expand_k", "half")])
def test_sizes_that_are_none_are_refused(write: Write, key: str, value: object) -> None:
    folder, config, weights = write("gla")
    save(folder, {**config, key: value}, weights)
    with pytest.raises(EOSError, match=r"is no number|key_ratio"):
        load_checkpoint(folder)


@pytest.mark.parametrize("shape", [[], [7], [3, 0], [2, 3, 4]], ids=str)
def test_weights_of_no_use_are_refused(write: Write, shape: list[int]) -> None:
    for model, name in (("mamba", "mixer.dt_proj.weight"), ("mamba", "mixer.A_log"), ("mamba2", "mixer.D")):
        folder, config, weights = write(model)
        save(folder, config, {**weights, f"backbone.layers.0.{name}": torch.ones(shape, dtype=torch.float64)})
        with pytest.raises(EOSError):
            load_checkpoint(folder)
