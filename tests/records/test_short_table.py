"""records/results.py: how one result prints."""

from __future__ import annotations

from mnist_lightning import RunResult

RESULT = RunResult(run_name="a<b", status="completed", accuracy=0.99, accuracy_test=0.98765, epochs=3)


def test_a_result_prints_as_a_short_table() -> None:
    assert str(RESULT).splitlines() == [
        "run                   a<b",
        "status                completed",
        "accuracy              0.9900",
        "loss_test             nan",
        "accuracy_test         0.9877",
        "binary_accuracy_test  nan",
        "epochs                3",
        "duration_seconds      nan",
    ]
    assert "status                failed no memory" in str(RunResult(error="no memory"))


def test_a_notebook_gets_the_same_as_html() -> None:
    html = RESULT._repr_html_()
    assert html.startswith("<table><tr><th>run</th><td>a&lt;b</td></tr><tr><th>status</th>")
    assert html.count("<tr>") == len(str(RESULT).splitlines())
