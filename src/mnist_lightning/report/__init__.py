"""Tables, figures, workbook and page from records: a function of what is stored, without torch and without Hydra."""

from typing import TYPE_CHECKING, Any

from mnist_lightning.report.write import write_report, write_tables

if TYPE_CHECKING:
    from mnist_lightning.report.frame import load_frame

__all__ = ["load_frame", "write_report", "write_tables"]


def __getattr__(name: str) -> Any:
    if name != "load_frame":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mnist_lightning.report.frame import load_frame  # pandas takes half a second, and few ask for a frame

    return load_frame
