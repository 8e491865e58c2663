"""benchmarks/: the arithmetic behind the figures, the tables, and that the contenders run. Nothing is timed."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[1]
if not (ROOT / "benchmarks").is_dir():
    pytest.skip("benchmarks/ comes with a checkout only", allow_module_level=True)
sys.path.insert(0, str(ROOT))  # `python -m benchmarks...` has it from the working directory

from benchmarks import common, contenders, precision, table, throughput, worker  # noqa: E402 - found by the line above

from mnist_lightning.numerics.model import ConvDenseNet, count_parameters  # noqa: E402 - after the other

NETS = ["32/2/1", "4/2/3", "4/3/0", "2/0/1", "64/3/3"]


@pytest.mark.parametrize("text", NETS)
def test_the_arithmetic_of_a_step_is_what_torch_counts(text: str) -> None:
    net = common.Net.parse(text)
    with torch.device("meta"):
        model, images = ConvDenseNet(*net), torch.empty(3, 1, 28, 28)
    with FlopCounterMode(display=False) as counter:
        logits = model(images)
    assert counter.get_total_flops() == 3 * common.forward_flops(net)[1]
    with counter:
        logits.sum().backward()
    assert counter.get_total_flops() == common.step_flops(net, 3) - 3 * common.forward_flops(net)[1]


@pytest.mark.parametrize("text", NETS)
def test_every_contender_trains_the_same_architecture(text: str) -> None:
    net = common.Net.parse(text)
    with torch.device("meta"):
        naive, own = contenders._torch_net(net), ConvDenseNet(*net)
    assert count_parameters(naive) == count_parameters(own)
    assert naive(torch.empty(2, 1, 28, 28, device="meta")).shape == (2, 10)
    assert str(net) == text


def test_samples_become_median_and_spread_and_ratios_a_geometric_mean() -> None:
    assert common.summary([3.0, 1.0, 8.0, 2.0]) == {"median": 2.5, "min": 1.0, "max": 8.0, "n": 4}
    assert common.shown(common.summary([1000.0, 1002.0])) == "1,001.00 [1,000.00..1,002.00] n=2"
    assert common.shown(common.summary([1000.0])) == "1,000.00 n=1"
    assert common.geometric_mean([1.0, 4.0, 2.0]) == pytest.approx(2.0)
    assert math.isnan(common.geometric_mean([]))


def test_a_line_and_its_exponent_are_found() -> None:
    fit = common.fit_line([1, 2, 4, 8], [5, 8, 14, 26])
    assert (fit["slope"], fit["intercept"]) == (pytest.approx(3), pytest.approx(2))
    assert common.fit_line([1, 2, 4], [3, 12, 48])["exponent"] == pytest.approx(2)


def rows(optimizer: str = "adam", keras: float = 2.0) -> list[dict[str, Any]]:
    """One case of 10 steps a round: keras takes `keras` seconds, we 1, a tenth of the matrix product's rate."""
    net = common.Net(4, 2, 1)
    seconds = {"keras": [keras, keras, keras], "ours-32": [1.0, 0.5, 2.0]}
    measured: list[dict[str, Any]] = []
    for name, samples in seconds.items():
        measured.append({"contender": name, "optimizer": optimizer, "case": str(net), "precision": "", "error": ""})
        throughput._fill(measured[-1], net, samples, 10)
    product = {"contender": "matmul-32", "optimizer": optimizer, "case": str(net), "precision": "", "error": ""}
    throughput._fill(product, net, [2 * contenders.MATMUL_SIDE**3 / common.step_flops(net) / 10], 10)
    absent = {"contender": "lightning", "optimizer": optimizer, "case": str(net), "precision": "", "error": "broke"}
    return throughput._compare([*measured, product, absent], net)


def result(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What `benchmarks.throughput` writes about these rows."""
    head = common.report("throughput", {"rounds": 3, "steps": 10, "threads": 1, "batch": 64})
    return {**head, "rows": rows, "summary": throughput.geometric_means(rows)}


def test_a_case_has_ratios_of_medians_and_the_share_of_the_matrix_product() -> None:
    keras, ours, _, absent = rows()
    assert ours["images_per_second"] == {"median": 640.0, "min": 320.0, "max": 1280.0, "n": 3}
    assert (keras["ratio_to"], ours["ratio_to"]) == ({"keras": 1.0}, {"keras": 2.0})
    assert ours["matmul_share"] == pytest.approx(0.1)
    assert "ratio_to" not in absent
    assert "lightning: broke" in throughput.table(result(rows()))


def test_the_summary_is_the_geometric_mean_and_names_the_slowest_case() -> None:
    means = throughput.geometric_means([*rows(), *rows("sgd", keras=8.0)])
    assert means["ours-32"]["ratio_to"] == {"keras": pytest.approx(4.0)}
    assert means["ours-32"]["slowest_ratio_to"] == {"keras": 2.0}
    assert "4.00 (least 2.00)" in throughput.table(result([*rows(), *rows("sgd", keras=8.0)]))


def test_precisions_are_compared_by_the_ranges_of_their_seeds() -> None:
    assert precision.compare([0.90, 0.94], [0.93, 0.99])["overlap"]
    apart = precision.compare([0.90, 0.92], [0.95, 0.97])
    assert (apart["overlap"], apart["difference"]) == (False, pytest.approx(0.05))
    runs = [
        {"optimizer": "adam", "lr": 0.1, "seed": s, "precision": p, "accuracy_test": a + s / 100, "loss_test": None}
        for s in range(3)
        for p, a in (("32-true", 0.5), ("bf16-mixed", 0.6))
    ]
    cells = precision.cells(runs, "bf16-mixed")
    assert [(c["metric"], c["overlap"]) for c in cells] == [("accuracy_test", False)]
    assert precision.verdict(cells).startswith("ranges of the seeds are disjoint in 1 of 1")


def test_the_table_is_written_between_the_markers_and_checked(tmp_path: Path) -> None:
    common.write_json(tmp_path / "throughput.json", result(rows()))
    document = tmp_path / "README.md"
    document.write_text("before\n<!-- throughput:start -->\nold\n<!-- throughput:end -->\nafter\n")
    arguments = ["--results", str(tmp_path), str(document)]
    assert table.main(["--check", *arguments]) == 1
    assert "old" in document.read_text()
    assert table.main(arguments) == 0
    assert table.main(["--check", *arguments]) == 0
    text = re.sub(" +", " ", document.read_text())  # the columns are aligned
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| 4/2/1 adam | 320 [320..320], 5% | 640 [320..1,280], 10% |" in text
    assert "| times keras, geometric mean | 1.00 (least 1.00) | 2.00 (least 2.00) |" in text
    assert "lightning: broke" in text
    assert "old" not in text


@pytest.mark.parametrize("text", ["no markers", "<!-- fused:start --> <!-- fused:end --> <!-- scaling:start -->"])
def test_a_document_without_a_place_for_each_table_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no place"):
        table.filled(text, tmp_path)


def test_the_speed_that_the_readme_states_is_the_stored_one() -> None:
    summary = json.loads((common.RESULTS / "throughput.json").read_text())["summary"]
    ratios, readme = summary["ours-32"]["ratio_to"], (ROOT / "README.md").read_text()
    as_it_comes = summary["ours"]["ratio_to"]
    assert f"{as_it_comes['keras']:.2f} and {as_it_comes['lightning']:.2f} times:" in readme
    assert f"{ratios['keras']:.2f} times as fast as Keras" in readme
    assert f"{ratios['lightning']:.2f} times as fast as plain Lightning" in readme


def test_every_table_in_the_repository_is_what_its_json_says() -> None:
    if not list(common.RESULTS.glob("*.json")):
        pytest.skip("no results stored")
    assert table.main(["--check"]) == 0


def test_contenders_take_turns_and_those_without_tensorflow_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throughput, "_has_tensorflow", lambda python: False)
    path = tmp_path / "throughput.json"
    options = "--cases 4/2/1 --optimizers sgd --contenders keras,plain-torch,ours-32 --data synthetic --json"
    counts = "--rounds 1 --steps 2 --warmup 1 --threads 1"
    assert throughput.main([*options.split(), str(path), *counts.split()]) == 0
    result = json.loads(path.read_text())
    assert {"hardware", "versions", "date", "settings"} <= result.keys()
    samples = {row["contender"]: len(row.get("seconds", [])) for row in result["rows"]}
    assert samples == {"keras": 0, "plain-torch": 1, "ours-32": 1, "matmul-32": 1}
    assert "keras: tensorflow is not installed" in capsys.readouterr().out
    assert list(result["summary"]) == ["plain-torch", "ours-32"]


def test_a_contender_that_dies_says_why(tmp_path: Path) -> None:
    with pytest.raises(worker.WorkerError, match="KeyError: 'nobody'"):
        worker.Worker(sys.executable, "nobody", common.Net(4, 2, 1), "sgd", tmp_path, 1)
