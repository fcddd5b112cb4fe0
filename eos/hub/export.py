"""Writes a run, or a public checkpoint, as a folder that transformers reads."""

import shutil
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from eos.errors import RunError
from eos.hub.checkpoint import load_checkpoint
from eos.hub.pretrained import EOSForCausalLM
from eos.tasks.corpus.tokenizer import END_OF_TEXT
from eos.training.trained import load_for_decoding

#: What may stand beside a checkpoint's weights and says nothing of its layout.
BESIDE = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
    "generation_config.json",
)


def export(source: Path, out: Path) -> EOSForCausalLM:
    """Write the model and the tokenizer of ``source`` to the folder ``out``, and return the model.

    Arguments:
        source: a run's folder, or a public checkpoint of a known layout.
        out: must not exist, or be empty.

    Raises:
        RunError: ``out`` holds something, or ``source`` cannot be read.
        RecipeError: a checkpoint of no known layout.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out} is there already; nothing was written. Name a new folder")
    model = _checkpoint(source, out) if (source / "config.json").is_file() else _run(source, out)
    model.save_pretrained(out)
    return model


def _checkpoint(source: Path, out: Path) -> EOSForCausalLM:
    model = EOSForCausalLM.of(load_checkpoint(source))
    out.mkdir(parents=True, exist_ok=True)
    for name in BESIDE:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
    return model


def _run(source: Path, out: Path) -> EOSForCausalLM:
    trained = load_for_decoding(source, device="cpu")
    tokenizer = trained.task.tokenizer()
    if tokenizer is None:
        return EOSForCausalLM.of(trained.model)
    shared = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END_OF_TEXT)
    shared.save_pretrained(out)
    return EOSForCausalLM.of(trained.model, eos_token_id=shared.eos_token_id)
