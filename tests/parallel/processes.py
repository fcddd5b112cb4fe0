"""Functions run by several processes that know each other."""

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


def together(count: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What a function gives in each of so many processes, by rank.

    Raises:
        AssertionError: one of them raised, with its traceback.
    """
    (port,) = free_ports(1)
    context = mp.get_context("spawn")
    queue = context.Queue()
    crew = [
        context.Process(target=_run, args=(rank, count, port, queue, function, arguments), daemon=True)
        for rank in range(count)
    ]
    for process in crew:
        process.start()
    found = dict(queue.get(timeout=5 * PATIENCE) for _ in crew)
    for process in crew:
        process.join(PATIENCE)
    failed = {rank: text for rank, (text, _) in found.items() if text}
    assert not failed, "\n".join(f"rank {rank}:\n{text}" for rank, text in sorted(failed.items()))
    return [found[rank][1] for rank in range(count)]


def _run(rank: int, count: int, port: int, queue: Any, function: Callable[..., Any], arguments: Any) -> None:
    torch.set_num_threads(1)
    try:
        dist.init_process_group(
            "gloo",
            init_method=f"tcp://127.0.0.1:{port}",
            rank=rank,
            world_size=count,
            timeout=dt.timedelta(seconds=PATIENCE),
        )
        queue.put((rank, ("", function(*arguments))))
    except Exception:  # noqa: BLE001
        queue.put((rank, (traceback.format_exc(), None)))
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
