from pathlib import Path

import pytest
import torch

from eos.compose import load_model_recipe
from eos.errors import RunError
from eos.models import LanguageModel, load_weights, save_weights

SMALL = ("width=32", "layers=2")


def small(*overrides: str, recipe: str = "hgrn2", vocabulary: int = 11) -> LanguageModel:
    return LanguageModel(load_model_recipe(recipe, [*SMALL, *overrides]), vocabulary)


@pytest.mark.parametrize("tied", ["tied=true", "tied=false"])
def test_round_trip(tmp_path: Path, tied: str) -> None:
    torch.manual_seed(0)
    one, other = small(tied), small(tied)
    save_weights(one, tmp_path / "weights.safetensors")
    load_weights(other, tmp_path / "weights.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]
    for (name, left), right in zip(one.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(left, right), name
    # the bounds of every layer are still one parameter
    bounds = [block.mixer.composition.oscillation[0].bounds for block in other.blocks]
    assert bounds[0] is bounds[1]


def test_another_model_is_named_key_by_key(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(small(), path)
    before = small("tied=false", vocabulary=12)
    with pytest.raises(RunError) as caught:
        load_weights(before, path)
    assert "missing head.weight" in str(caught.value)
    assert "embedding.weight is [11, 32] in the file and [12, 32] in the model" in str(caught.value)
    with pytest.raises(RunError, match=r"unexpected blocks\.1\.mixer_norm\.weight"):
        load_weights(small("layers=1"), path)


def test_a_failed_load_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(small(), path)
    model = small(vocabulary=12)
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(RunError):
        load_weights(model, path)
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(small(), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(RunError, match="cannot read weights"):
        load_weights(small(), path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot read weights"):
        load_weights(small(), tmp_path / "none.safetensors")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot write weights"):
        save_weights(small(), tmp_path / "missing" / "weights.safetensors")
