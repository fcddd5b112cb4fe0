"""Records as they come from real folders: mixed, half empty, with zeros and with nothing."""

from typing import Any

from tests.dashboard.made import made


def odd() -> tuple[dict[str, Any], bytes]:
    """Two data versions and budgets, a softmax model without stages, metrics of 0, studies of several kinds."""
    data, curves = made(48)
    cells, runs = data["cells"], data["runs"]
    cells[2]["data"] = "ffff0000"
    cells[3]["version"] = "0.2.0"
    cells[4]["budget"] = "50 steps"
    cells[5].update(levels=None, contexts=None, equation=None, name="llama", model="llama")
    cells[6].update(parameters=None, training_flops_per_token=None, state_bytes=None, data=None)
    for run in runs:
        if run["cell"] == 7:
            run["metrics"] = {"test/accuracy": 0.0, "test/nats_per_answer": 0.0}
        if run["cell"] == 8:
            run["metrics"], run["nonfinite"] = {}, {"test/accuracy": "nan", "test/nats_per_answer": "inf"}
        if run["cell"] == 9:
            empty = ("steps", "best_step", "time_s", "tokens_per_step", "latency_ms", "device", "peak_bytes", "plan")
            run.update(dict.fromkeys(empty), status="stopped", commit=None, command=None, versions={}, started=None)
    runs.append({**runs[0], "id": len(runs), "metrics": {"test/accuracy": 0.1}, "name": "twin", "path": "runs/twin"})
    cells[10]["study"] = "recall"
    study = data["studies"][0]
    study["trials"][0]["run"] = 0
    first = study["trials"][:6]
    data["studies"] += [
        {**study, "name": "empty", "trials": [], "states": {}, "importances": {}, "note": "No trial is complete."},
        {**study, "name": "two", "objectives": [*study["objectives"], {"name": "state", "higher": False}],
         "trials": [{**t, "values": t["values"] and [*t["values"], 64.0 * t["number"]]} for t in study["trials"]]},
        {**study, "name": "none", "trials": [{**t, "state": "failed", "values": None, "last": None} for t in first],
         "importances": {"fANOVA": []}, "rerun": []},
    ]  # fmt: skip
    scalar = {"run": 0, "layer": 4, "mixer": "state", "learned": False, "erase": False, "length": 64, "over": "head"}
    data["memory"].append({**scalar, "decay_tokens": [[None], [12.0]], "period_tokens": None})
    data["tasks"]["bytes"]["summary"] = "Bytes of text."
    return data, curves
