"""How many threads a training takes in a container that may use only a share of the processors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mnist_lightning.training import runtime
from mnist_lightning.training.runtime import keep_to_share, processor_share


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("files", "share"),
    [
        ({}, math.inf),  # another system
        ({"proc/self/cgroup": "0::/"}, math.inf),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, math.inf),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"}, 1.5),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "nonsense"}, math.inf),
        (  # the least of a group and those around it
            {
                "proc/self/cgroup": "0::/pod/box",
                "sys/fs/cgroup/pod/cpu.max": "200000 100000",
                "sys/fs/cgroup/pod/box/cpu.max": "800000 100000",
            },
            2.0,
        ),
        (  # the first version, seen from inside a container, whose path is the machine's
            {
                "proc/self/cgroup": "5:memory:/docker/ab\n4:cpu,cpuacct:/docker/ab",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            0.5,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu:/",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            math.inf,
        ),
    ],
)
def test_the_share_is_what_control_groups_say(tmp_path: Path, files: dict[str, str], share: float) -> None:
    assert processor_share(written(tmp_path, files)) == share


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torch has chosen four threads, and nobody has asked for others."""
    before = torch.get_num_threads()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    torch.set_num_threads(4)
    monkeypatch.setattr(runtime, "_THREADS", 4)
    keep_to_share.cache_clear()
    yield
    keep_to_share.cache_clear()
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(("share", "taken"), [(math.inf, 4), (8.0, 4), (2.0, 2), (1.5, 2), (0.1, 1)])
def test_a_training_takes_no_more_threads_than_its_share(
    share: float, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "processor_share", lambda: share)
    keep_to_share()
    assert torch.get_num_threads() == taken


@pytest.mark.usefixtures("threads")
def test_threads_that_were_asked_for_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "processor_share", lambda: 1.0)
    torch.set_num_threads(3)
    keep_to_share()
    assert torch.get_num_threads() == 3
    torch.set_num_threads(4)
    keep_to_share.cache_clear()
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    keep_to_share()
    assert torch.get_num_threads() == 4
