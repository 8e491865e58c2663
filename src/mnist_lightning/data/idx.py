"""Reads IDX, the format of MNIST's files."""

from __future__ import annotations

import struct
from pathlib import Path

import torch
from torch import Tensor

from mnist_lightning.errors import DataError

_UINT8, _INT32 = 0x08, 0x0C
_LARGEST_FILE = 2**30


def read_idx(path: Path) -> Tensor:
    """Reads an IDX file of bytes as uint8, or of big-endian 32-bit integers as int32: [N], [N, A] or [N, A, B].

    Source of the format: yann.lecun.com/exdb/mnist. The header is believed only if the file has exactly the
    size it promises. Raises DataError naming the file.
    """
    try:
        size = path.stat().st_size
        if size > _LARGEST_FILE:
            raise damaged(path, f"{size:,} bytes, too large")
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in (_UINT8, _INT32):
        raise damaged(path, "not an IDX file")
    item, rank = (1 if content[2] == _UINT8 else 4), content[3]
    start = 4 + 4 * rank
    if not 1 <= rank <= 3 or len(content) < start:
        raise damaged(path, "not an IDX file")
    shape = struct.unpack(f">{rank}I", content[4:start])
    expected = start + item
    for length in shape:
        expected = start + (expected - start) * length
    if len(content) != expected:
        raise damaged(path, f"{len(content):,} bytes, expected {expected:,}")
    values = torch.frombuffer(bytearray(content[start:]) or bytearray(1), dtype=torch.uint8)
    values = values[: expected - start]
    if item == 4:  # big-endian on disk
        values = values.reshape(-1, 4).flip(1).contiguous().view(torch.int32)
    return values.reshape(shape)


def damaged(path: Path, what: str) -> DataError:
    """Returns the error that names a damaged file, what is wrong with it, and the way out."""
    return DataError(f"{path}: damaged, {what}; delete it and run again to fetch it")
