"""The map of metrics over two numbers."""

from rich.console import Console

from eos.cli.heat import heat


def lines(metrics: dict[str, float]) -> list[list[str]]:
    table = heat(metrics)
    assert table is not None
    console = Console(width=80, no_color=True)
    with console.capture() as capture:
        console.print(table)
    return [line.split() for line in capture.get().splitlines()]


def test_every_value_stands_at_its_length_and_depth() -> None:
    metrics = {"accuracy": 0.5, "accuracy_1024_depth_50": 0.25, "accuracy_256_depth_50": 1.0}
    metrics |= {"accuracy_256_depth_0": 0.125, "nats_per_answer": 3.0}
    assert lines(metrics) == [["length", "\\", "depth", "0", "50"], ["256", "0.125", "1.000"], ["1024", "0.250"]]


def test_lengths_and_pairs_are_a_map_too() -> None:
    assert lines({"accuracy_64x4": 1.0, "accuracy_64x16": 0.5}) == [
        ["length", "\\", "pairs", "4", "16"],
        ["64", "1.000", "0.500"],
    ]


def test_other_metrics_are_no_map() -> None:
    assert heat({"accuracy": 0.5, "accuracy_64": 1.0, "accuracy_4_to_40": 1.0, "bits_per_byte": 2.0}) is None
