"""What TensorBoard shows of a run, asked of TensorBoard itself."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.hparams import backend_context

from eos.training.folder import RunFolder
from eos.training.result import read_result
from eos.training.run import Recipe, resume, train

Describe = Callable[..., Recipe]


@pytest.fixture
def board(describe: Describe, tmp_path: Path) -> EventMultiplexer:
    """TensorBoard's reading of a folder of two runs."""
    for seed, model in ((1, "hgrn2"), (2, "linear_attention")):
        train(describe(f"model={model}", "steps=4", "sample=8", f"seed={seed}"), tmp_path / model)
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(tmp_path))
    multiplexer.Reload()
    return multiplexer


def test_the_hparams_page_tells_runs_apart_by_their_stages_and_shows_final_metrics(board: EventMultiplexer) -> None:
    context = backend_context.Context(SimpleNamespace(data_provider=MultiplexerDataProvider(board, ""), logdir=""))
    asked = RequestContext()
    experiment = context.experiment_from_metadata(asked, "", True, context.hparams_metadata(asked, ""), None)
    differ = {info.name for info in experiment.hparam_infos if info.differs}
    assert {"oscillation", "model", "training.seed"} <= differ
    assert "task" not in differ
    assert not [name for name in differ if name.endswith((".expand.name", ".shrink.name", "].name"))]
    shown = {info.name.tag for info in experiment.metric_infos}
    assert {"final/test/nats_per_token", "validation/nats_per_token"} <= shown


def test_all_stands_in_the_runs_own_folder(board: EventMultiplexer, tmp_path: Path) -> None:
    assert sorted(board.Runs()) == ["hgrn2", "linear_attention"]
    tags = set(board.Runs()["hgrn2"]["tensors"])
    assert {"train/nats_per_token", "memory/blocks/1/log10_decay_tokens", "samples/0/text_summary"} <= tags
    # Nothing fades in linear attention.
    assert not any(tag.startswith("memory/") for tag in board.Runs()["linear_attention"]["tensors"])
    (final,) = board.Tensors("hgrn2", "final/test/nats_per_token")
    result = read_result(RunFolder(tmp_path / "hgrn2").result)
    assert float(final.tensor_proto.float_val[0]) == pytest.approx(result.metrics["test"]["nats_per_token"], rel=1e-6)


def test_a_run_that_goes_on_stands_there_once(describe: Describe, tmp_path: Path) -> None:
    train(describe("steps=4", "sample=0"), tmp_path / "run")
    RunFolder(tmp_path / "run").result.unlink()
    resume(tmp_path / "run")
    board = EventMultiplexer().AddRunsFromDirectory(str(tmp_path))
    board.Reload()
    steps = [event.step for event in board.Tensors("run", "train/nats_per_token")]
    assert steps == sorted(set(steps)) != []
    assert len(board.Tensors("run", "final/test/nats_per_token")) == 1
