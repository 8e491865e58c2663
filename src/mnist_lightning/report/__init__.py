"""Tables, figures, workbook and page from records: a function of what is stored, without torch and without Hydra."""

from mnist_lightning.report.write import write_report, write_tables

__all__ = ["write_report", "write_tables"]
