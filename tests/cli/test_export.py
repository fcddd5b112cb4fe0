"""A run, and a public checkpoint, written for transformers by the command."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

import eos.hub  # noqa: F401 - registers our models
from eos.cli.main import main
from eos.training.trained import load_for_decoding
from tests.hub.naive import gla

TEXT = "the cat sat on the mat, und über die Straße; " * 60


def trained(folder: Path, *overrides: str) -> Path:
    text = folder / "text.txt"
    text.write_text(TEXT, encoding="utf-8")
    run = folder / "run"
    small = ["model=gla", "layers=1", "width=32", "heads=2", "task.length=16", f"task.source={text}"]
    steps = ["steps=2", "rows=2", "device=cpu", f"task.cache={folder / 'cache'}"]
    assert main(["train", f"run={run}", *small, *steps, *overrides]) == 0
    return run


@pytest.mark.parametrize("tokens", [[], ["task.vocabulary=300", "task.tokens=bpe"]], ids=["bytes", "pairs"])
def test_a_run_and_its_tokenizer(tokens: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = trained(tmp_path, *tokens), tmp_path / "model"
    capsys.readouterr()
    assert main(["export", str(run), str(out)]) == 0
    assert f'from_pretrained("{out}")' in capsys.readouterr().out
    model, tokenizer = AutoModelForCausalLM.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    ours = load_for_decoding(run, device="cpu")
    ids = tokenizer("die Straße sat", return_tensors="pt").input_ids
    assert ids[0].tolist() == ours.task.encode("die Straße sat")
    assert tokenizer.decode(ids[0]) == "die Straße sat"
    assert torch.equal(model(ids).logits, ours.model(ids))
    assert model.config.eos_token_id == tokenizer.eos_token_id == ours.task.vocabulary - 1


def test_a_public_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, weights = gla.checkpoint()
    source, out = tmp_path / "theirs", tmp_path / "ours"
    source.mkdir()
    (source / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (source / "merges.txt").write_text("a b", encoding="utf-8")
    save_file({name: weight.contiguous() for name, weight in weights.items()}, source / "model.safetensors")
    assert main(["export", str(source), str(out)]) == 0
    assert (out / "merges.txt").read_text(encoding="utf-8") == "a b"
    ids = torch.arange(11)[None]
    expected = gla.logits(config, weights, ids).float()
    torch.testing.assert_close(AutoModelForCausalLM.from_pretrained(out)(ids).logits, expected, atol=1e-4, rtol=1e-4)
    capsys.readouterr()
    assert main(["export", str(source), str(out)]) == 2
    assert f"{out} is there already; nothing was written" in capsys.readouterr().err


def test_what_is_neither_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["export", str(empty), str(tmp_path / "out")]) == 2
    assert "empty" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["export", str(tmp_path / "nowhere"), str(tmp_path / "out")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_layouts_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "checkpoints"]) == 0
    shown = capsys.readouterr().out
    assert "model_type rwkv → model=rwkv4" in shown
    assert main(["list", "checkpoints", "gla"]) == 0
    assert "flash-linear-attention" in capsys.readouterr().out
