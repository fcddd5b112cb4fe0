"""Functions that several processes run together."""

import datetime as dt
import traceback
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from tests.ports import free_ports

#: Seconds before what does not answer counts as lost.
PATIENCE = 120


class Crew:
    """So many processes, begun once, that run one function after another until they are left."""

    def __init__(self, count: int) -> None:
        (port,) = free_ports(1)
        context = mp.get_context("spawn")
        self._found = context.Queue()
        self._tasks = [context.Queue() for _ in range(count)]
        self._processes = [
            context.Process(target=_work, args=(rank, count, port, tasks, self._found), daemon=True)
            for rank, tasks in enumerate(self._tasks)
        ]

    def __enter__(self) -> "Crew":
        for process in self._processes:
            process.start()
        return self

    def __exit__(self, *error: object) -> None:
        for tasks in self._tasks:
            tasks.put(None)
        for process in self._processes:
            process.join(PATIENCE)

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """What the function gives in each of them, by rank.

        Raises:
            AssertionError: one of them raised, with its traceback.
        """
        for tasks in self._tasks:
            tasks.put((function, arguments))
        found = dict(self._found.get(timeout=5 * PATIENCE) for _ in self._processes)
        failed = {rank: text for rank, (text, _) in found.items() if text}
        assert not failed, "\n".join(f"rank {rank}:\n{text}" for rank, text in sorted(failed.items()))
        return [found[rank][1] for rank in range(len(found))]


def together(count: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """The same by processes that do nothing before, whose memory is their own."""
    with Crew(count) as crew:
        return crew(function, *arguments)


def _work(rank: int, count: int, port: int, tasks: Any, found: Any) -> None:
    torch.set_num_threads(1)
    meeting = f"tcp://127.0.0.1:{port}"
    patience = dt.timedelta(seconds=PATIENCE)
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=count, timeout=patience)
    for function, arguments in iter(tasks.get, None):
        try:
            found.put((rank, ("", function(*arguments))))
        except Exception:  # noqa: BLE001
            found.put((rank, (traceback.format_exc(), None)))
    dist.destroy_process_group()
