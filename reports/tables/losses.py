"""The tutorial's ablation: each row's settings, and its training loss, ours and the source's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reports import stats
from reports.plain import one_line
from reports.table import NOTHING, Cell, Part, Sheet, cells
from reports.types import Table, TableRow
from reports.words import number, short
from sweeps.records.summary import spread
from sweeps.study import Losses

LOSSES = ("initial", "final", "minimum", "improvement %")
SETTINGS = ("layers", "T", "n", "EMA", "depth")


def losses(table: Table) -> Sheet:
    """Configuration, layers, T, n, EMA, depth; initial, final, least loss and improvement, ours and the source's."""
    has_source = any(row.paper_losses for row in table.rows)
    lines = []
    for row in table.rows:
        line = (Cell(one_line(row.name)), *cells(_settings(row)), *our_losses(row))
        if has_source:
            line += cells([NOTHING] * 4 if row.paper_losses is None else printed(row.paper_losses))
        lines.append(line)
    groups = (("", SETTINGS), ("Ours", LOSSES), *((("Source", LOSSES),) if has_source else ()))
    return Sheet(("Configuration",), groups, (Part(tuple(lines)),))


def _settings(row: TableRow) -> list[str]:
    if row.settings is None:
        return [NOTHING] * len(SETTINGS)
    model, ema = row.settings.model, row.settings.optim.ema
    return [str(model.n_layers), str(model.T), str(model.n), "no" if ema is None else "yes", number(row.depth)]


def our_losses(row: TableRow) -> tuple[Cell, ...]:
    """Initial, final, least loss and improvement; or, once, why there is none. The verdict is on the final one."""
    if row.losses:
        initial, final, *others = loss_cells(row.losses)
        first = (Cell(initial, row=row.name), Cell(final, row.verdict.mark, row=row.name))
        return (*first, *cells(others, row.name))
    status = row.status.partition(":")[0] or "no curve"
    status = short("no curve" if status.startswith("no ") else status, 28)
    return (Cell(status, row=row.name), *cells([NOTHING] * 3))


def loss_cells(losses: Sequence[Losses]) -> list[str]:
    """The four cells of one or several curves: means, with the interval over seeds where there are several."""
    texts = []
    for column, digits, times in zip(loss_columns(losses), (3, 3, 3, 1), (1, 1, 1, 100), strict=True):
        found = spread([times * value for value in column])
        half = "" if found.low is None or found.high is None else f" ± {(found.high - found.low) / 2:.{digits}f}"
        texts.append(f"{found.mean:.{digits}f}{half}".replace("-", "−"))
    return texts


def printed(losses: Losses) -> list[str]:
    """The source's four cells, as printed."""
    texts = loss_cells([losses])
    return texts if losses.improvement is None else [*texts[:3], f"{losses.improvement:.1f}"]


def loss_columns(losses: Iterable[Losses]) -> list[tuple[float, ...]]:
    """The values of all curves: initial, final, minimum in nats, improvement as a fraction."""
    return list(zip(*((one.initial, one.final, one.minimum, improvement(one)) for one in losses), strict=True))


def loss_means(losses: Sequence[Losses]) -> list[float]:
    """Means over the curves: initial, final, minimum in nats, improvement as a fraction."""
    return [stats.mean(values) for values in loss_columns(losses)]


def improvement(losses: Losses) -> float:
    """How much of the first loss is gone at the end, as a fraction; as printed where a source prints it."""
    if losses.improvement is not None:
        return losses.improvement / 100
    return (losses.initial - losses.final) / losses.initial
