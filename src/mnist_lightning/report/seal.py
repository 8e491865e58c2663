"""The checksums of derived files as we wrote them: to know whether somebody has worked in one, or it is not ours."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from mnist_lightning.errors import OutputError
from mnist_lightning.records.durable import write_durably

CSV, XLSX, HTML, FIGURES = "results.csv", "results.xlsx", "report.html", "figures"
SEAL = ".report.sha256"
INPUTS = "inputs"  # no file, but what all of them were made of; a comment to `sha256sum -c`
_COMMENT = "# "
_SEAL_OF_WORKBOOK = ".results.xlsx.sha256"  # what 0.1.0 wrote in its place


def digest_of(content: bytes) -> str:
    """The SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()


def read_seal(root: Path) -> dict[str, set[str]]:
    """The digests under which each derived file is ours, by name; what has none is somebody's.

    0.1.0 sealed its workbook alone: in a directory of its, what else is there under our names is taken for ours, once.
    """
    from mnist_lightning.report.figures import HEADINGS

    seal: dict[str, set[str]] = {}
    path, old = root / SEAL, root / _SEAL_OF_WORKBOOK
    try:
        if path.is_file():
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                digest, _, name = line.removeprefix(_COMMENT).partition("  ")
                seal.setdefault(name, set()).add(digest)
        elif old.is_file():
            figures = [f"{FIGURES}/{name}.{kind}" for name in HEADINGS for kind in ("png", "svg")]
            there = [name for name in (CSV, HTML, *figures) if (root / name).is_file()]
            seal = {name: {digest_of((root / name).read_bytes())} for name in there}
        if old.is_file():
            seal.setdefault(XLSX, set()).update(old.read_text(encoding="ascii", errors="replace").split())
    except OSError as error:
        raise OutputError(f"{error.filename}: cannot be read ({error.strerror}); move it away") from error
    return seal


def write_seal(root: Path, seal: Mapping[str, set[str]]) -> None:
    """Writes the seal, as `sha256sum -c` reads it, where it has changed; then 0.1.0's is not needed any more."""
    lines = ((_COMMENT if name == INPUTS else "", d, name) for name in sorted(seal) for d in sorted(seal[name]))
    content = "".join(f"{comment}{d}  {name}\n" for comment, d, name in lines).encode()
    path = root / SEAL
    if not path.is_file() or path.read_bytes() != content:
        write_durably(path, content)
    (root / _SEAL_OF_WORKBOOK).unlink(missing_ok=True)
