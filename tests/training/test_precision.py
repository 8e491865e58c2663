"""Which precision a training has where none is asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from mnist_lightning.training import precision
from mnist_lightning.training.precision import bf16_is_faster, fastest_precision


@pytest.fixture(autouse=True)
def measured_anew() -> Iterator[None]:
    bf16_is_faster.cache_clear()
    yield
    bf16_is_faster.cache_clear()


@pytest.mark.parametrize(
    ("accelerator", "cuda", "gpu", "cpu", "expected"),
    [
        ("cpu", True, True, False, "32-true"),
        ("cpu", False, False, True, "bf16-mixed"),
        ("auto", True, True, False, "bf16-mixed"),
        ("auto", True, False, True, "32-true"),
        ("gpu", True, True, False, "bf16-mixed"),
        ("mps", False, False, True, "32-true"),
    ],
)
def test_the_automatic_precision_is_that_of_the_hardware(
    accelerator: str, cuda: bool, gpu: bool, cpu: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: gpu)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: cpu)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert fastest_precision(accelerator) == expected


@pytest.mark.parametrize(("faster", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_of_another_kind_of_processor_a_measurement_decides(
    faster: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(precision, "bf16_is_faster", lambda: faster)
    for unit in ("amx_tile", "avx512_bf16"):
        monkeypatch.setattr(torch.cpu, f"_is_{unit}_supported", lambda: not faster)
    monkeypatch.setattr(precision.platform, "machine", lambda: "x86_64")
    assert fastest_precision("cpu") != expected  # torch knows
    monkeypatch.setattr(precision.platform, "machine", lambda: "arm64")
    assert fastest_precision("cpu") == fastest_precision("auto") == expected
    monkeypatch.setattr(precision.platform, "machine", lambda: "AMD64")
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")  # as in another version of torch
    assert fastest_precision("cpu") == expected


def test_on_apples_gpu_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(precision.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(precision, "bf16_is_faster", lambda: 1 // 0)
    assert fastest_precision("auto") == fastest_precision("mps") == "32-true"


@pytest.mark.parametrize(("seconds", "expected"), [(0.70, True), (0.80, False), (2.0, False)])
def test_bf16_must_be_faster_by_more_than_noise(
    seconds: float, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock by which float32 takes a second a step; the first step of each is not counted."""
    spans = [0.0, 0.0, *[seconds, 1.0] * 3]
    ticks = iter([tick for at, span in enumerate(spans) for tick in (10.0 * at, 10.0 * at + span)])
    monkeypatch.setattr(precision.time, "perf_counter", lambda: next(ticks))
    state = torch.get_rng_state()
    assert bf16_is_faster() is expected
    assert bf16_is_faster() is expected  # without another measurement
    assert torch.equal(torch.get_rng_state(), state)
