"""Where exported files go, how they are called, and which of the files there are ours to replace."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mnist_lightning.errors import OutputError
from mnist_lightning.records.durable import keep_changed, write_durably
from mnist_lightning.records.reading import read_regular
from mnist_lightning.records.run_directory import BEST

SEAL = ".export.sha256"  # as `sha256sum -c` reads it: what the files here were when export left them
LOCK = ".export.lock"  # there only while files are put into their places
_LARGEST_SEAL = 2**20


@dataclass(frozen=True)
class Place:
    """A directory for exported files and their name without its ending; `run` is the run's directory, if there is one.

    Files of different runs have different names, so that one directory can take those of a whole sweep.
    """

    directory: Path
    stem: str
    run: Path | None

    @classmethod
    def of(cls, checkpoint: Path, out: str | Path | None) -> Place:
        """The place for a checkpoint's files: RUN/RUN.onnx of RUN's best.ckpt, RUN/RUN_last.onnx of its last.ckpt."""
        best, absolute = Path(BEST), Path(os.path.abspath(checkpoint))  # noqa: PTH100 - a link is what its own name says
        if absolute.parent.name != best.parent.name:  # a file that somebody has moved
            return cls(Path(out or checkpoint.parent), checkpoint.stem, None)
        run = checkpoint.parent.parent if checkpoint.parent.name == best.parent.name else absolute.parents[1]
        name = absolute.parents[1].name
        return cls(Path(out or run), name if checkpoint.stem == best.stem else f"{name}_{checkpoint.stem}", run)

    def path(self, format_name: str) -> Path:
        """The path of the file of a format."""
        return self.directory / f"{self.stem}.{format_name}"

    def make_room(self, digests: Mapping[Path, str]) -> dict[Path, Path]:
        """Puts aside what is about to be replaced and is not as we left it; {its path: where it is now}.

        `digests` are those of the new files. Killed at any instant, the seal knows every file of ours. Raises
        OutputError.
        """
        seal = self._read_seal()
        both = {path: seal.get(path.name, set()) | {digest} for path, digest in digests.items()}
        asides = {path: aside for path, known in both.items() if (aside := keep_changed(path, known))}
        self._write_seal(seal | {path.name: known for path, known in both.items()})
        return asides

    def seal(self, digests: Mapping[Path, str]) -> None:
        """Notes the files that are in their places now. Raises OutputError."""
        self._write_seal(self._read_seal() | {path.name: {digest} for path, digest in digests.items()})

    def _read_seal(self) -> dict[str, set[str]]:
        seal: dict[str, set[str]] = {}
        try:
            lines = read_regular(self.directory / SEAL, _LARGEST_SEAL).decode(errors="replace").splitlines()
        except FileNotFoundError:
            return seal
        except (OSError, ValueError) as error:
            what = error.strerror if isinstance(error, OSError) else error
            raise OutputError(f"{self.directory / SEAL}: cannot be read ({what}); move it away") from error
        for line in lines:
            digest, _, name = line.partition("  ")
            seal.setdefault(name, set()).add(digest)
        return seal

    def _write_seal(self, seal: Mapping[str, set[str]]) -> None:
        lines = (f"{digest}  {name}\n" for name in sorted(seal) for digest in sorted(seal[name]))
        write_durably(self.directory / SEAL, "".join(lines).encode("utf-8", "surrogateescape"))


def digest_of(content: bytes) -> str:
    """The SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()
