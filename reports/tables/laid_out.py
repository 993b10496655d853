"""The paper's layout of a study, ours beside it."""

from __future__ import annotations

from reports.table import Sheet
from reports.tables.ablation import ablation
from reports.tables.grid import grid
from reports.tables.losses import losses
from reports.tables.methods import methods
from reports.tables.speed import speed
from reports.types import Table


def sheet(table: Table) -> Sheet:
    """As the paper, or the source, prints it."""
    if table.study.layout == "losses":
        return losses(table)
    if table.study.layout == "speed":
        return speed(table)
    if table.grid is None:
        return ablation(table)
    return methods(table, table.grid) if table.grid.by_puzzle else grid(table, table.grid)
