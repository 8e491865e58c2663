"""Tables from records: a pure function of them, without torch and without Hydra."""

from mnist_lightning.report.write import write_report, write_tables

__all__ = ["write_report", "write_tables"]
