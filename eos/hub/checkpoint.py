"""Reads public checkpoints of other projects: a folder with config.json and safetensors files."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from eos.compose import build
from eos.errors import RunError
from eos.hub.layout import Layout, changed, layout_of, read_config, recipe_of
from eos.models import LanguageModel

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
EMBEDDING, HEAD = "embedding.weight", "head.weight"


def load_checkpoint(folder: Path | str, *, dtype: torch.dtype = torch.float32) -> LanguageModel:
    """The language model of a checkpoint whose layout is known, in evaluation mode.

    Arguments:
        folder: with ``config.json`` and ``model.safetensors``, or several such files and their index. ``eos list
            checkpoints`` shows the layouts.
        dtype: of the model.

    Raises:
        RecipeError: an unknown layout, or options of one that no composition here has.
        RunError: no safetensors file, a damaged one, or weights that the layout does not have.
    """
    folder = Path(folder)
    config = read_config(folder)
    layout = layout_of(config)
    with _opened(folder) as weights:
        recipe = recipe_of(layout, config, weights.shapes)
        model = build(recipe, vocabulary=_rows_of_embedding(layout, weights)).to(dtype)
        _fill(model, layout, weights)
    return model.eval()


class _Weights:
    """The tensors of a checkpoint's files, read one by one; remembers which."""

    def __init__(self, files: Mapping[str, Any]) -> None:
        self._files = files
        self.shapes: dict[str, list[int]] = {
            name: list(file.get_slice(name).get_shape()) for name, file in files.items()
        }
        self.read: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def __call__(self, name: str) -> Tensor:
        self.read.add(name)
        tensor: Tensor = self._files[name].get_tensor(name)
        return tensor

    @property
    def unread(self) -> list[str]:
        return sorted(self._files.keys() - self.read)


@contextmanager
def _opened(folder: Path) -> Iterator[_Weights]:
    with ExitStack() as stack:
        files: dict[str, Any] = {}
        for path in _files(folder):
            try:
                file = stack.enter_context(safe_open(path, framework="pt"))
            except (OSError, SafetensorError) as error:
                raise RunError(f"cannot read weights from {path}: {error}") from error
            files |= dict.fromkeys(file.keys(), file)
        yield _Weights(files)


def _files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        try:
            names = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()
        except (ValueError, KeyError, AttributeError) as error:
            raise RunError(f"{folder / INDEX} is no index of weights: {error!r}") from error
        # a name with a path in it could lead out of the folder
        return sorted({folder / Path(str(name)).name for name in names})
    pickled = sorted(path.name for path in folder.glob("*.bin")) + sorted(path.name for path in folder.glob("*.pt*"))
    hint = (
        f"; {', '.join(pickled)} may run code when it is read, and is not: convert it to safetensors" if pickled else ""
    )
    raise RunError(f"{folder} has no {WEIGHTS}{hint}")


def _rows_of_embedding(layout: Layout, weights: _Weights) -> int:
    name = next(rule.theirs for rule in layout.weights if rule.ours == EMBEDDING)
    if name not in weights.shapes:
        raise RunError(f"the checkpoint has no weight {name}")
    return weights.shapes[str(name)][0]


def _fill(model: LanguageModel, layout: Layout, weights: _Weights) -> None:
    """Copy every weight of the file to where it belongs; nothing may be left over on either side."""
    empty = dict(model.named_parameters())
    shapes = {name: parameter.shape for name, parameter in empty.items()}
    sought: dict[str, list[str]] = {}
    with torch.no_grad():
        for rule in layout.rules(model.recipe.layers):
            named = [part for part in rule.sources if isinstance(part, str)]
            if rule.targets == [HEAD] and model.head is None:
                if named[0] in weights:
                    _same(weights(named[0]), model.embedding.weight, named[0])
                continue
            for name in set(rule.targets) & empty.keys():
                sought[name] = named
            if set(rule.targets) <= empty.keys() and all(name in weights for name in named):
                try:
                    parts = changed(rule, weights, shapes)
                except (RuntimeError, IndexError, ZeroDivisionError) as error:
                    found = ", ".join(f"{name} {weights.shapes[name]}" for name in named)
                    raise RunError(f"{found} does not hold {' and '.join(rule.targets)}: {error}") from error
                for name, tensor in parts.items():
                    empty.pop(name).copy_(tensor)
    missing = {theirs for name in empty for theirs in sought.get(name, [f"what fills {name}"]) if theirs not in weights}
    complaints = [*(f"missing {name}" for name in sorted(missing)), *(f"unexpected {name}" for name in weights.unread)]
    if complaints:
        raise RunError(f"the weights are not those of model_type {layout.model_type}: {'; '.join(complaints)}")


def _same(head: Tensor, embedding: Tensor, name: str) -> None:
    if head.shape != embedding.shape or not torch.equal(head.to(embedding.dtype), embedding):
        raise RunError(f"config.json says tie_word_embeddings, but {name} is not the embedding")
