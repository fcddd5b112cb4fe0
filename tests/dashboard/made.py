"""Records and curves as the reader of run folders makes them, of any size, from a seed."""

import gzip
import hashlib
import itertools
import math
from typing import Any

import numpy as np

HOSTILE = '</script><script>window.p=1</script><img src=x onerror="window.p=2"><!-- \u2028 \u202e `|&$_{}'
EXPAND = ("linear · silu", "elu", "softmax", "ones")
OSCILLATION = ("key_gate", "head + rotary", "identity", "low rank · rank=4")
SHRINK = ("linear", "gated")
TRAINED = 2000
_MADE = 1_796_006_874.0

Json = dict[str, Any]


def made(runs: int, *, failed: bool = False, hostile: bool = False, seed: int = 0) -> tuple[Json, bytes]:
    """The contract's data and curve bytes of ``runs`` runs; all of them failed, or with markup as every name."""
    numbers = np.random.default_rng(seed)
    cells = _cells(runs, numbers)
    records = [record for cell in cells for record in _runs(cell, numbers, failed)][:runs]
    for place, record in enumerate(records):
        record["id"] = place
    kept = {record["cell"] for record in records}
    cells = [cell for cell in cells if cell["id"] in kept]
    for cell in cells:
        for key in ("seeds", "quality"):
            cell.pop(key)
    entries, packed = _curves(records, cells, numbers)
    data: Json = {
        "schema": 1,
        "eos": "0.1.0",
        "made": "2026-11-30T03:07:54Z",
        "command": "eos report runs -o page.html",
        "searched": ["runs"],
        "links": [],
        "common": {"model.layers": 2, "model.norm": "rms", "train.batch": 32},
        "tasks": _tasks() if cells else {},
        "levels": {
            "expand": _levels(EXPAND),
            "oscillation": _levels(OSCILLATION),
            "shrink": _levels(SHRINK),
            "couple": [],
        },
        "cells": cells,
        "runs": records,
        "warnings": [{"text": "Seed 1 was run twice with different results.", "cells": [cells[0]["id"]]}]
        if cells
        else [],
        "refused": [{"expand": 2, "oscillation": 1, "shrink": 1, "reason": "softmax keys are not rotated"}],
        "unreadable": [{"path": "runs/torn", "error": "result.json: ends in the middle"}] if runs > 1 else [],
        "curves": entries,
        "curves_left_out": {"tags": [], "points": 300},
        "trouble": None,
        "recall": _recall(cells, numbers),
        "memory": _memory(records, numbers),
        "ladders": [_ladder(numbers)] if runs > 1 else [],
        "studies": [_study(numbers)] if runs > 1 else [],
    }
    return (_with_markup(data) if hostile else data), packed


def _levels(labels: tuple[str, ...]) -> list[Json]:
    return [{"id": place, "name": label.split(" ")[0], "label": label} for place, label in enumerate(labels)]


def _tasks() -> dict[str, Json]:
    accuracy = {
        "test/accuracy": {"higher": True, "fraction": True},
        "test/nats_per_answer": {"higher": False, "fraction": False},
    }
    return {
        "mqar_small": {
            "name": "mqar_small",
            "options": {"vocabulary": 64, "pairs": 8},
            "summary": "Pairs of a key and a value are shown, then keys are asked for.",
            "metric": "test/accuracy",
            "metrics": accuracy,
            "chance": 0.016,
            "floor": 0.12,
            "trivial": "one of the values written later",
        },
        "bytes": {
            "name": "bytes",
            "options": {"length": 256},
            "summary": None,
            "metric": "test/bits_per_byte",
            "metrics": {"test/bits_per_byte": {"higher": False, "fraction": False}},
            "chance": None,
            "floor": None,
            "trivial": None,
        },
    }


def _cells(runs: int, numbers: np.random.Generator) -> list[Json]:
    """Every combination of stages but some, at several widths where many runs are wanted."""
    result: list[Json] = []
    total = 0
    for width, (expand, oscillation, shrink) in itertools.product(
        (64, 128, 32, 96, 48, 160), itertools.product(range(4), range(4), range(2))
    ):
        if total >= runs:
            break
        skipped = (expand, oscillation, shrink) == (2, 1, 1) or (expand + 2 * oscillation + shrink) % 7 == 5
        if skipped:
            continue
        seeds = 1 if (expand, oscillation) == (3, 2) else (5 if shrink == 0 and oscillation != 1 else 3)
        seeds = min(seeds, runs - total)
        # The last few runs are of another task.
        task = "bytes" if runs >= 40 and runs - total <= max(6, runs // 20) else "mqar_small"
        result.append(_cell(len(result), task, width, (expand, oscillation, shrink), seeds, numbers))
        total += seeds
    return result


def _cell(
    number: int, task: str, width: int, stages: tuple[int, int, int], seeds: int, numbers: np.random.Generator
) -> Json:
    expand, oscillation, shrink = stages
    changed = [
        f"{stage}={label}"
        for stage, place, label in (
            ("expand", expand, EXPAND[expand]),
            ("oscillation", oscillation, OSCILLATION[oscillation]),
            ("shrink", shrink, SHRINK[shrink]),
        )
        if place
    ]
    name = " · ".join(["gla", *changed, *([f"width={width}"] if width != 64 else [])])
    rest = f"{task} {width}"
    quality = 0.9 - (0, 0.004, 0.09, 0.01)[expand] - (0, 0.03, 0.012, 0.001)[oscillation] + 0.004 * shrink
    parameters = 49_616 * width // 64 + 1200 * expand + 640 * oscillation
    return {
        "id": number,
        "key": hashlib.sha1(f"{task} {name}".encode()).hexdigest()[:8],
        "name": name,
        "task": task,
        "model": "gla",
        "recipe": {
            "model.width": width,
            "model.mixer.expand": EXPAND[expand],
            "model.mixer.oscillation": OSCILLATION[oscillation],
            "model.mixer.shrink": SHRINK[shrink],
        },
        "budget": "2,000 steps",
        "data": "ab12cd34",
        "version": "0.1.0",
        "precision": "float32",
        "levels": {"expand": expand, "oscillation": oscillation, "shrink": shrink, "couple": None},
        "contexts": {
            "expand": f"{rest} o{oscillation} s{shrink}",
            "oscillation": f"{rest} e{expand} s{shrink}",
            "shrink": f"{rest} e{expand} o{oscillation}",
            "couple": f"{rest} e{expand} o{oscillation} s{shrink}",
        },
        "equation": ["m_t = o_t ∘ m_{t-1} + e_t i_tᵀ", "y_t = m_tᵀ s_t"],
        "parameters": parameters,
        "training_flops_per_token": 6.0 * parameters,
        "decoding_flops_per_token": 2.0 * parameters,
        "state_bytes": 3008 * (1 + expand % 2) * width // 64,
        "study": None,
        "seeds": seeds,
        "quality": quality + 0.02 * math.log2(width / 64) + numbers.normal(0, 0.004),
    }


def _runs(cell: Json, numbers: np.random.Generator, all_failed: bool) -> list[Json]:
    result = []
    for seed in range(1, cell["seeds"] + 1):
        quality = cell["quality"] + 0.008 * math.sin(3 * seed) + numbers.normal(0, 0.006)
        status, reason = "ok", None
        draw = (7 * cell["id"] + 3 * seed) % 23
        if all_failed or draw == 4:
            status, reason = "failed", "MemoryError: 2.1 GB were asked for"
        elif draw == 9:
            status, reason = "diverged", "not finite at step 1,204"
        elif draw == 15:
            status = "running"
        result.append(_run(cell, seed, quality, status, reason, numbers))
    return result


def _run(cell: Json, seed: int, quality: float, status: str, reason: str | None, numbers: np.random.Generator) -> Json:
    bytes_task = cell["task"] == "bytes"
    finals = {"test/bits_per_byte": 3.2 - quality} if bytes_task else {"test/accuracy": quality}
    if not bytes_task:
        finals["test/nats_per_answer"] = 2.4 * (1 - quality)
    finished = status == "ok"
    nonfinite = {} if status != "diverged" else dict.fromkeys(finals, "nan")
    path = f"runs/{cell['task']}-{cell['id']}/seed-{seed}"
    return {
        "id": 0,
        "cell": cell["id"],
        "name": path.removeprefix("runs/"),
        "path": path,
        "seed": seed,
        "status": status,
        "reason": reason,
        "step": TRAINED if finished else 1204,
        "steps": TRAINED,
        "metrics": finals if status in ("ok", "running") else {},
        "nonfinite": nonfinite,
        "best_step": 1800 if finished else None,
        "time_s": 660.2 + 40 * numbers.random() + cell["id"],
        "tokens": 5120 * TRAINED,
        "tokens_per_step": 5120,
        "tokens_per_s": 61000.0 - 400 * cell["id"],
        "latency_ms": 0.3 + 0.02 * (cell["id"] % 9) if cell["id"] % 8 != 5 else None,
        "device": "cpu (x86_64)",
        "peak_bytes": 812_000_000 + 1_000_000 * cell["id"],
        "written": _MADE - (90 if status == "running" else 9000),
        "started": "2026-11-30T02:47:54+00:00",
        "commit": "1216e9c0ffee",
        "command": f"eos train gla {cell['task']} seed={seed}",
        "versions": {"torch": "2.13.0", "eos": "0.1.0"},
        "plan": "layer 1: chunked scan, chunk 64\nlayer 2: chunked scan, chunk 64",
        "samples": ["a 3 b 7 c 1 | b → 7", "d 2 e 9 f 4 | d → 2"] if seed == 1 else [],
        "warnings": ["The learning rate was at its bound."] if seed == 2 else [],
        "trial": None,
    }


def _curves(runs: list[Json], cells: list[Json], numbers: np.random.Generator) -> tuple[list[Json], bytes]:
    """Curves of 2,000 logged steps, thinned to 300 points with 149 means beside them."""
    entries: list[Json] = []
    parts: list[bytes] = []
    offset = 0

    def add(entry: Json, *arrays: np.ndarray) -> None:
        nonlocal offset
        block = b"".join(array.astype(kind).tobytes() for array, kind in zip(arrays, _kinds(len(arrays)), strict=True))
        entries.append({**entry, "offset": offset})
        parts.append(block)
        offset += len(block)

    points = np.unique(np.linspace(1, TRAINED, 300).astype(int))
    buckets = np.linspace(7, TRAINED - 6, 149).astype(int)
    for run in runs:
        final = next(iter(run["metrics"].values()), 0.4)
        stop = run["step"]
        x, b = points[points <= stop], buckets[buckets <= stop]
        for tag, shape in _shapes(final).items():
            y = shape(x) * (1 + numbers.normal(0, 0.03, len(x)))
            gaps = []
            if run["status"] == "diverged":
                y[-3:] = np.nan
                gaps = [[int(x[-3]), int(x[-1])]]
            entry = {"run": run["id"], "tag": tag, "count": stop, "points": len(x), "buckets": len(b)}
            add({**entry, "gaps": gaps}, _steps(x), y, _steps(b), shape(b), b * 0.33)
    for cell in cells:
        own = [run for run in runs if run["cell"] == cell["id"]]
        final = next((value for run in own for value in run["metrics"].values()), 0.4)
        for tag, shape in _shapes(final).items():
            mean = shape(buckets)
            half = 0.04 * np.abs(mean) * (len(own) > 1)
            seeds = [[0, len(own)], *([[1204, len(own) - 1]] if len(own) > 3 else [])]
            entry = {"cell": cell["id"], "tag": tag, "points": len(buckets), "n": seeds}
            add(entry, _steps(buckets), mean, mean - half, mean + half)
    words = np.frombuffer(b"".join(parts), dtype=np.uint8).reshape(-1, 4)
    return entries, gzip.compress(words.T.tobytes(), 6, mtime=0)


def _kinds(arrays: int) -> tuple[str, ...]:
    return ("<u4", "<f4", "<u4", "<f4", "<f4") if arrays == 5 else ("<u4", "<f4", "<f4", "<f4")


def _steps(x: np.ndarray) -> np.ndarray:
    return np.diff(x, prepend=0)


def _shapes(final: float) -> Json:
    return {
        "train/nats_per_answer": lambda x: 4.1 * np.exp(-x / 300) + 2.4 * (1 - final) + 0.05,
        "validation/accuracy": lambda x: final * (1 - np.exp(-x / 400)),
        "train/gradient_norm": lambda x: 1.2 * np.exp(-x / 900) + 0.2,
        "train/learning_rate": lambda x: 0.003 * np.cos(x / TRAINED * 1.5),
    }


def _recall(cells: list[Json], numbers: np.random.Generator) -> list[Json]:
    lengths, pairs, depths = [64, 128, 256, 512], [4, 8, 16, 32, 64], [0, 25, 50, 75, 100]
    result = []
    for cell in cells[:8]:
        size = 16 + 4 * (cell["id"] % 3)
        values: list[list[float | None]] = [
            [round(float(np.clip(1.3 - p / size / 2 - length / 4000, 0.016, 1)), 3) for p in pairs]
            for length in lengths
        ]
        values[-1][-1] = None
        common = {"cell": cell["id"], "part": "test", "rows": lengths, "row_name": "length (tokens)", "n": 3}
        result.append(
            {
                **common,
                "kind": "pairs",
                "columns": pairs,
                "column_name": "key-value pairs",
                "values": values,
                "key_size": size,
            }
        )
        if cell["id"] < 2:
            deep = [[round(float(numbers.random()), 2) for _ in depths] for _ in lengths]
            result.append(
                {
                    **common,
                    "kind": "depth",
                    "columns": depths,
                    "column_name": "depth (%)",
                    "values": deep,
                    "key_size": None,
                }
            )
    return result


def _memory(runs: list[Json], numbers: np.random.Generator) -> list[Json]:
    result = []
    for run in runs[:12]:
        for layer in range(4):
            lengths = np.exp(numbers.normal(0.8 + 0.9 * layer, 1.2, (4, 16)))
            decays: list[list[float | None]] = [[round(float(value), 3) for value in head] for head in lengths]
            decays[0][:3] = [None, None, None]
            periods = [[None if place % 5 == 0 else 4.0 * (place + 1) for place in range(16)] for _ in range(4)]
            result.append(
                {
                    "run": run["id"],
                    "layer": layer,
                    "mixer": "main",
                    "learned": layer != 0,
                    "erase": layer == 3,
                    "length": 64,
                    "decay_tokens": decays,
                    "over": "K",
                    "period_tokens": periods if layer < 2 else None,
                }
            )
    return result


def _study(numbers: np.random.Generator) -> Json:
    trials = []
    for number in range(200):
        pick = numbers.random()
        state = "pruned" if pick < 0.6 else "complete" if pick < 0.9 else "failed" if pick < 0.96 else "running"
        expand = str(numbers.choice(["linear", "elu", "softmax"]))
        rate = float(10 ** numbers.uniform(-4, -1.5))
        value = 0.9 - 0.1 * abs(math.log10(rate) + 2.5) - 0.05 * (expand == "softmax") + numbers.normal(0, 0.02)
        params: Json = {"expand": expand, "learning_rate": rate, "width": int(numbers.choice([32, 64, 128]))}
        if expand == "elu":
            params["elu_alpha"] = float(numbers.uniform(0.5, 2))
        trials.append(
            {
                "number": number,
                "state": state,
                "values": [value] if state == "complete" else None,
                "last": {"step": 200, "value": value - 0.2} if state in ("pruned", "complete") else None,
                "params": params,
                "seconds": 12.0 + 30 * (state == "complete"),
                "reason": "MemoryError" if state == "failed" else None,
                "run": None,
            }
        )
    states = {
        state: sum(trial["state"] == state for trial in trials) for state in ("complete", "pruned", "failed", "running")
    }
    bars = [
        {"name": name, "value": value, "low": value - 0.05, "high": value + 0.06, "used": used, "left_out": 61 - used}
        for name, value, used in (
            ("learning_rate", 0.55, 61),
            ("expand", 0.31, 61),
            ("width", 0.1, 61),
            ("elu_alpha", 0.04, 19),
        )
    ]
    return {
        "name": "recall",
        "url": "runs/search/recall/study.log",
        "folder": "runs/search/recall",
        "objectives": [{"name": "accuracy", "higher": True}],
        "states": {**states, "waiting": 0},
        "trials": trials,
        "importances": {"fANOVA": bars, "PED-ANOVA": bars[::-1]},
        "note": None,
        "rerun": ["eos train gla mqar_small train.learning_rate=0.003 seed=11"],
        "command": "optuna-dashboard runs/search/recall/study.log",
    }


def _with_markup(data: Json) -> Json:
    """Names, reasons, tags, samples and the rest with markup put before them; what links records stays as it is."""
    fixed = {"key", "task", "status", "state", "kind", "metric", "started", "made", "over", "schema"}

    def changed(value: Any, key: str = "") -> Any:
        if isinstance(value, str):
            return value if key in fixed else f"{HOSTILE} {value}"
        if isinstance(value, list):
            return [changed(item, key) for item in value]
        if isinstance(value, dict):
            return {name: changed(item, name) for name, item in value.items()}
        return value

    result = changed(data)
    # Keys that users choose can hold markup too.
    for cell in result["cells"]:
        cell["recipe"] = {
            f"{key}{HOSTILE if key == 'model.width' else ''}": item for key, item in cell["recipe"].items()
        }
    return dict(result)


def _ladder(numbers: np.random.Generator) -> Json:
    """Two models of three sizes and budgets; the second has too few runs for a law of both."""
    models: Json = {}
    for model, sizes in (("gla", (2.5e4, 1e5, 3e5)), ("llama · wide", (1e5,))):
        points = [
            {
                "parameters": n,
                "tokens": d,
                "compute": 7.0 * n * d,
                "loss": 1.2 + 30 * n**-0.35 + 40 * d**-0.3 + 0.01 * numbers.random(),
                "folder": f"{model}-{n}-{d}",
            }
            for n, d in itertools.product(sizes, (1e5, 4e5, 2e6))
        ]
        points.sort(key=lambda point: point["compute"])
        budgets = [
            {
                "compute": 10.0**k * points[-1]["compute"],
                "best": {"parameters": 2e5 * 3.0**k, "tokens": 2e6 * 3.0**k, "loss": 2.0 - 0.1 * k},
                "parameters": [1e5 * 3.0**k, 4e5 * 3.0**k],
                "loss": [1.9 - 0.1 * k, 2.1 - 0.1 * k],
            }
            for k in range(3)
        ]
        whole = len(sizes) > 1
        models[model] = {
            "points": points,
            "frontier": points[::2],
            "power": {"floor": 0.0, "coefficients": [0.2], "exponents": [0.13], "residual": 0.02},
            "exponent": [0.1, 0.16],
            "both": {"floor": 1.2, "coefficients": [30.0, 40.0], "exponents": [0.35, 0.3], "residual": 0.01}
            if whole
            else None,
            "exponents": [[0.3, 0.4], [0.25, 0.35]] if whole else None,
            "share": {"parameters": 0.46, "range": [0.4, 0.5]} if whole else None,
            "budgets": budgets if whole else [],
            "missing": []
            if whole
            else ["law of parameters and tokens: a law of 5 numbers needs at least as many runs"],
        }
    return {"name": "ladder", "folder": "runs/ladder", "models": models}
