"""The socket of the page, which nobody but this machine can reach."""

from __future__ import annotations

import errno
import socket

from mnist_lightning.errors import ConfigError

HOST = "127.0.0.1"
USUAL = 8717
_NEXT = 20  # ports that are tried from the usual one on


def own_socket(port: int | None = None) -> socket.socket:
    """A listening socket on 127.0.0.1 at a port; 0: any that is free. By default the usual one, or the next that is.

    Raises ConfigError for a port that is taken, or is none.
    """
    if port is not None and not 0 <= port < 2**16:
        raise ConfigError(f"--port={port}: no port; choose one from 1024 to 65535, or 0 for any that is free")
    for tried in [port] if port is not None else [*range(USUAL, USUAL + _NEXT), 0]:
        try:
            return _bound(tried)
        except OSError as error:
            if port is not None or error.errno not in (errno.EADDRINUSE, errno.EACCES):
                what = "taken by another program" if error.errno == errno.EADDRINUSE else error.strerror or error
                raise ConfigError(f"--port={tried}: {what}; choose another, or 0 for any that is free") from error
    raise AssertionError("0 is always free, or an error")


def _bound(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows would let another program take the same port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)  # pyright: ignore[reportAttributeAccessIssue] - there alone
        else:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that has just ended is no other
        listening.bind((HOST, port))
        listening.listen(128)
    except OSError:
        listening.close()
        raise
    return listening
