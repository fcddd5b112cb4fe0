"""Our models behind the interface of transformers."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForCausalLM

from eos import registry
from eos.compose import build
from eos.errors import DataError, RecipeError, RunError
from eos.hub import EOSForCausalLM
from eos.models import LanguageModel, generate
from tests.models.test_recipes import PACKING

VOCABULARY, LENGTH, NEW = 37, 9, 7
pytestmark = pytest.mark.usefixtures("small_calls")


def made(name: str) -> LanguageModel:
    torch.manual_seed(0)
    return build(name, ["width=64", "layers=3"], vocabulary=VOCABULARY).eval()


@pytest.fixture
def tokens() -> Tensor:
    return torch.randint(VOCABULARY, (2, LENGTH), generator=torch.Generator().manual_seed(1))


def again(model: LanguageModel, folder: Path) -> EOSForCausalLM:
    EOSForCausalLM.of(model).save_pretrained(folder)
    return AutoModelForCausalLM.from_pretrained(folder)


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", sorted(registry.recipes("model")))
def test_saved_loaded_and_generating(name: str, tokens: Tensor, tmp_path: Path) -> None:
    model = made(name)
    loaded = again(model, tmp_path)
    assert isinstance(loaded, EOSForCausalLM)
    assert not [path.name for path in tmp_path.iterdir() if path.suffix not in (".json", ".safetensors")]
    with torch.no_grad():
        assert torch.equal(loaded(tokens).logits, model(tokens))
    drawn = loaded.generate(tokens, max_new_tokens=NEW, do_sample=False)
    assert torch.equal(drawn[:, LENGTH:], generate(model, tokens, tokens=NEW, temperature=0))


@pytest.mark.parametrize("name", ["hgrn2", "hybrid", "rwkv4", "gsa", "lightnet", "tnn"])
def test_beams_go_on_from_their_own_row(name: str, tokens: Tensor) -> None:
    model = EOSForCausalLM.of(made(name))
    beams = [
        model.generate(tokens, max_new_tokens=NEW, num_beams=4, do_sample=False, use_cache=cached)
        for cached in (True, False)
    ]
    assert torch.equal(*beams)


@pytest.mark.one_in(4)
@pytest.mark.parametrize("name", PACKING)
def test_padding_on_the_left_changes_nothing(name: str, tokens: Tensor) -> None:
    model = EOSForCausalLM.of(made(name))
    mask = torch.ones_like(tokens)
    mask[0, :4] = 0
    padded = model.generate(tokens, attention_mask=mask, max_new_tokens=NEW, do_sample=False, pad_token_id=0)
    alone = model.generate(tokens[:1, 4:], max_new_tokens=NEW, do_sample=False)
    assert torch.equal(padded[0, LENGTH:], alone[0, LENGTH - 4 :])
    whole = model.generate(tokens[1:], max_new_tokens=NEW, do_sample=False)
    assert torch.equal(padded[1], whole[0])


def test_the_memory_of_generating_does_not_grow(tokens: Tensor) -> None:
    model = EOSForCausalLM.of(made("gla"))
    sizes = [
        model.generate(tokens, max_new_tokens=count, return_dict_in_generate=True).past_key_values.cache.bytes
        for count in (2, 50)
    ]
    assert sizes[0] == sizes[1] > 0


def test_a_cache_goes_on_in_another_call(tokens: Tensor) -> None:
    model = EOSForCausalLM.of(made("gla"))
    first = model.generate(tokens, max_new_tokens=3, do_sample=False, return_dict_in_generate=True)
    more = model.generate(first.sequences, past_key_values=first.past_key_values, max_new_tokens=4, do_sample=False)
    assert torch.equal(more, model.generate(tokens, max_new_tokens=7, do_sample=False))


def test_loss_is_of_the_next_token(tokens: Tensor) -> None:
    model = EOSForCausalLM.of(made("gla"))
    labels = tokens.clone()
    labels[0, 3] = -100
    output = model(tokens, labels=labels)
    kept = labels[:, 1:] != -100
    expected = functional.cross_entropy(output.logits[:, :-1][kept], tokens[:, 1:][kept])
    torch.testing.assert_close(output.loss, expected)
    output.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert torch.equal(model(tokens, return_dict=False)[0], output.logits)


def test_padding_where_it_cannot_stand(tokens: Tensor) -> None:
    model = EOSForCausalLM.of(made("gla"))
    inside = torch.tensor([[1, 1, 0, 0, 1, 1, 1, 1, 1]] * 2)
    with pytest.raises(DataError, match="padding inside a text"):
        model(tokens, attention_mask=inside)
    after = torch.tensor([[1, 1, 1, 1, 1, 1, 1, 0, 0]] * 2)
    torch.testing.assert_close(model(tokens, attention_mask=after).logits[:, :7], model(tokens[:, :7]).logits)
    with pytest.raises(DataError, match="pad on the left"):
        model(tokens, attention_mask=after, use_cache=True)
    with pytest.raises(DataError, match=r"attention_mask must be \[B,9\]"):
        model(tokens, attention_mask=after[:, :5])


def test_another_embedding_and_more_tokens(tokens: Tensor) -> None:
    for name in ("gla", "rwkv4"):
        model = EOSForCausalLM.of(build(name, ["width=64", "layers=2", "tied=false"], vocabulary=VOCABULARY))
        model.resize_token_embeddings(VOCABULARY + 3)
        assert model(tokens + 3).logits.shape == (2, LENGTH, VOCABULARY + 3)


def test_a_changed_folder_is_refused(tmp_path: Path) -> None:
    again(made("hgrn2"), tmp_path)
    config, weights = tmp_path / "config.json", tmp_path / "model.safetensors"
    right, held = config.read_text(encoding="utf-8"), load_file(weights)
    data = json.loads(right)
    data["recipe"]["mixers"]["main"]["expand"] = {"name": "os.system"}
    config.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(RecipeError, match=r"unknown expand stage 'os\.system'"):
        AutoModelForCausalLM.from_pretrained(tmp_path)
    config.write_text(right, encoding="utf-8")
    name = sorted(held)[0]
    save_file({key: value for key, value in held.items() if key != name}, weights, {"format": "pt"})
    with pytest.raises(RunError, match=f"holds the weights of another model: missing {name}"):
        AutoModelForCausalLM.from_pretrained(tmp_path)
    save_file({**held, "model.more": torch.zeros(1)}, weights, {"format": "pt"})
    with pytest.raises(RunError, match=r"unexpected model\.more"):
        AutoModelForCausalLM.from_pretrained(tmp_path)
    weights.unlink()
    torch.save(held, tmp_path / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        AutoModelForCausalLM.from_pretrained(tmp_path)
    with pytest.raises(RunError, match="may run code"):
        AutoModelForCausalLM.from_pretrained(tmp_path, use_safetensors=False)
