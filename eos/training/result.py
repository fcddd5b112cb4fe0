"""How a run ended: result.json."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from eos.errors import RunError
from eos.training.files import read_json, write_json

Status = Literal["finished", "stopped", "abandoned", "failed"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What result.json holds.

    Arguments:
        status: finished; stopped by a signal, and ready to go on; abandoned after a validation, because who watched it
            thought it not worth going on with; failed, with ``error``.
        names: the recipes that the run was made of.
        seed: of the run.
        metrics: on validation and test, of the weights in weights.safetensors; empty unless finished. None stands
            for a number that is not finite.
        targets: how many targets each part was evaluated on.
        standard: the metric that counts, whether more of it is better, and what chance and a trivial method reach.
        steps, tokens: how far training came.
        best_step: step of the best validation, whose weights were kept unless the last were asked for; None where
            training validated nothing.
        parameters: trained numbers of the model.
        non_embedding_parameters: those outside of embeddings and a linear head.
        training_flops_per_token, decoding_flops_per_token: floating-point operations, at the task's length; the latter
            and what decoding keeps are None for a model that sees what comes later.
        state_bytes: what decoding keeps of a sequence of the task's length.
        state_bytes_per_token: what one more token adds to that.
        training_seconds: training with its validations, over all starts.
        wall_seconds: training and the last evaluations, over all starts but those that were killed.
        peak_memory_bytes: of tensors on a CUDA device, of the whole process on a CPU; of the latest start.
        device: what it ran on.
        signal: the number of the signal that stopped it.
        error: why it failed.
    """

    status: Status
    names: dict[str, str]
    seed: int
    metrics: dict[str, dict[str, float | None]] = field(default_factory=dict)
    targets: dict[str, int] = field(default_factory=dict)
    standard: dict[str, Any] | None = None
    steps: int = 0
    tokens: int = 0
    best_step: int | None = None
    parameters: int | None = None
    non_embedding_parameters: int | None = None
    training_flops_per_token: float | None = None
    decoding_flops_per_token: float | None = None
    state_bytes: int | None = None
    state_bytes_per_token: int | None = None
    training_seconds: float = 0.0
    wall_seconds: float = 0.0
    peak_memory_bytes: int | None = None
    device: str | None = None
    signal: int | None = None
    error: str | None = None

    def write(self, path: Path) -> None:
        """Replace ``path`` by this."""
        write_json(path, asdict(self))


def read_result(path: Path) -> Result:
    """The result in ``path``.

    Raises:
        RunError: it is not a result.
    """
    data: Any = read_json(path)
    try:
        return Result(**data)
    except TypeError as error:
        raise RunError(f"{path} is not the result of a run: {error}") from error


def result_if_readable(path: Path) -> Result | None:
    """The result in ``path``; None where there is none, or a damaged one: how a run ended can be found anew."""
    try:
        return read_result(path) if path.is_file() else None
    except RunError:
        return None


def plain(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Metrics as JSON holds them: None for what is not finite."""
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}
