"""The keys under `sweep.` and `report.`: what is done about a grid, and never what a run computes."""

from __future__ import annotations

from dataclasses import dataclass

from mnist_lightning.config.section import Section, key


@dataclass
class SweepConfig(Section):
    """How a sweep deals with runs that go wrong."""

    prefix = "sweep."

    max_retries: int = key(1, "how often a run that killed its process is tried again", low=0, identity=False)


@dataclass
class ReportConfig(Section):
    """When the page of a sweep is made."""

    prefix = "report."

    live: bool = key(
        False, "make a sweep's page, and status.json, also while it runs, about once a minute", identity=False
    )
