"""What is written beside a training on a GPU: in order, wholly, and no error is lost."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import torch

from mnist_lightning.fused.writer import QueuedCheckpoints, Writer


def test_work_is_done_in_its_order_in_another_thread_and_is_done_after_the_wait() -> None:
    done: list[int] = []
    threads: set[int] = set()
    with Writer(background=True) as writer:
        for i in range(200):
            writer(lambda i=i: (done.append(i), threads.add(threading.get_ident()))[0])
        writer.wait()
        assert done == list(range(200))
    assert threads != {threading.get_ident()}


def test_on_a_cpu_work_is_done_at_once() -> None:
    done: list[int] = []
    with Writer(background=False) as writer:
        writer(lambda: done.append(threading.get_ident()))
        assert done == [threading.get_ident()]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=repr)
def test_an_error_reaches_the_training_and_nothing_is_written_after_it(error: BaseException) -> None:
    done: list[int] = []

    def fail() -> None:
        raise error

    with pytest.raises(type(error)), Writer(background=True) as writer:  # noqa: PT012 - where it is raised is open
        writer(lambda: done.append(1))
        writer(fail)
        for _ in range(200):
            writer(lambda: done.append(2))
        writer.wait()
    assert done == [1]


def test_what_was_given_before_an_interrupt_is_written() -> None:
    done: list[int] = []
    go = threading.Event()
    with pytest.raises(KeyboardInterrupt), Writer(background=True) as writer:  # noqa: PT012 - the block is the training
        writer(lambda: done.append(go.wait(10)))
        writer(lambda: done.append(2))
        go.set()
        raise KeyboardInterrupt
    assert done == [True, 2]


@pytest.mark.parametrize("background", [True, False])
def test_what_needs_no_other_is_done_when_the_call_returns_and_an_error_is_raised(background: bool) -> None:
    done: list[int] = []

    def fail() -> None:
        raise OSError("disk full")

    with Writer(background=background) as writer:
        writer.together([lambda i=i: done.append(i) for i in range(50)])
        assert sorted(done) == list(range(50))
        with pytest.raises(OSError, match="disk full"):
            writer.together([lambda: done.append(50), fail])
    assert done[-1] == 50


def test_a_checkpoint_holds_the_numbers_of_the_moment_it_was_given(tmp_path: Path) -> None:
    p, go = torch.ones(3), threading.Event()
    with Writer(background=True) as writer:
        writer(lambda: [go.wait(10)].clear())
        QueuedCheckpoints(writer).save_checkpoint({"epoch": 1, "members": {"a": {"w": p}}}, tmp_path / "x.ckpt")
        p.zero_()
        assert not (tmp_path / "x.ckpt").exists()
        go.set()
    content = torch.load(tmp_path / "x.ckpt", weights_only=True)
    assert content["members"]["a"]["w"].tolist() == [1.0] * 3
