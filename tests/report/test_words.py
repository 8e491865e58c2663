"""One is not many, and what is said of a picture is so on paper of any colour."""

from __future__ import annotations

import re
from dataclasses import replace

import torch

from mnist_lightning.report.about import about_table
from mnist_lightning.report.figures import Figures, draw_figures
from mnist_lightning.report.frame import frame_of
from mnist_lightning.report.page import page
from mnist_lightning.report.ranking import Ranking
from mnist_lightning.report.stored import Stored
from mnist_lightning.training.record import device_name
from report_cases import record


def test_one_run_is_one_run_in_every_sentence_of_the_page() -> None:
    ranking = Ranking(frame_of([record()]))
    text = page(ranking, Stored(), Figures([], {}))
    assert not re.search(r"\b1 (runs|others|images|threads)\b", text)
    assert "1 of 1 run shown" in text


def test_values_of_one_run_each_are_counted_in_the_singular() -> None:
    ranking = Ranking(frame_of([record(batch_size=64), record(batch_size=32, seed=1), record(seed=2)]))
    told = dict(about_table(ranking, Stored()).rows)
    assert told["Batch size"] == "64 (2 runs), 32 (1 run)"
    assert told["Seeds"] == "0 (1 run), 1 (1 run), 2 (1 run)"


def test_one_thread_is_no_threads() -> None:
    threads = torch.get_num_threads()
    device_name.cache_clear()
    try:
        torch.set_num_threads(1)
        assert device_name(torch.device("cpu")).endswith(", 1 thread)")
    finally:
        torch.set_num_threads(threads)
        device_name.cache_clear()


def test_the_confusion_matrix_is_explained_by_colours_that_are_the_same_in_the_dark() -> None:
    import numpy as np

    from mnist_lightning.records.predictions import make_predictions

    labels, images = np.arange(20) % 10, np.zeros((20, 1, 28, 28), dtype=np.uint8)
    p = np.eye(10)[labels] * 0.9
    predictions = make_predictions(p, images, labels, images, labels, seed=0)
    figures = draw_figures(Ranking(frame_of([replace(record(), num_parameters=None)])), Stored(predictions))
    (caption,) = (f.caption for f in figures.pictures if f.name == "confusion_matrix")
    assert "The deeper the orange, the more mistakes; blue: right." in caption
