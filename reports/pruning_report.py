"""`--pruning-report`: what the recorded curves of a search say of its rungs. Read, then rendered."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from reports.layout import lay_out, prose
from reports.plain import csv_text, plain
from reports.report import write_files
from reports.table import NOTHING
from sweeps import screen
from sweeps.campaign import FILE, id_in
from sweeps.changes import label
from sweeps.plan import recorded_settings
from sweeps.proposed import rungs_of
from sweeps.pruning import Curve, Direction, Key, PruningReport, Replay, Rung, report_on
from sweeps.records.read import anywhere, one_per_key, read_curve
from sweeps.records.types import RunRecord
from sweeps.search_spec import Pruning
from sweeps.sought import Sought

THRESHOLDS = (0.75, 0.5, 0.25)  # shares of the trials at a rung that go on


class NoCurves(ValueError):
    """Runs that have nothing to rank: no curve, or no end."""


def curves_of(runs: Iterable[RunRecord], metric: str) -> dict[str, dict[int, float]]:
    """The curve of each run that has one, by its key: step → value. A query per run. Raises TrackingUnavailable."""
    found = {run.key: dict(read_curve(run.run_id, metric)) for run in runs}
    return {key: curve for key, curve in found.items() if curve}


def read_pruning_report(
    runs: Sequence[RunRecord],
    *,
    metric: str,
    direction: Direction,
    objective: str,
    objective_direction: Direction,
    rungs: Sequence[int] = (),
    thresholds: Sequence[float] = THRESHOLDS,
    flops: Callable[[RunRecord], float] | None = None,
    plateau: float | None = None,
    top_k: int = 3,
) -> PruningReport[str]:
    """The report on a search's runs, one per trial, by their keys.

    metric: of the curves; objective: of the end, which finished runs alone have. rungs: steps; none: `rungs_in`.
    Raises NoCurves, and TrackingUnavailable where MLflow does not answer.
    """
    curves = curves_of(runs, metric)
    ends = {run.key: run.metrics[objective] for run in runs if run.status == "FINISHED" and objective in run.metrics}
    if not any(key in curves for key in ends):
        raise NoCurves(
            f"{len(runs)} runs, {len(curves)} with a curve of {metric}, {len(ends)} that ended with {objective};"
            " expected runs with both: let some trials of the search end, without pruning, and ask again"
        )
    return report_on(
        curves,
        ends,
        rungs or rungs_in([curves[key] for key in ends if key in curves]),
        thresholds,
        direction=direction,
        finals_direction=objective_direction,
        flops=None if flops is None else {run.key: flops(run) for run in runs},
        plateau=plateau,
        top_k=top_k,
    )


def rungs_in(curves: Sequence[Curve], most: int = 6) -> tuple[int, ...]:
    """Steps to try as rungs: of those that most of the curves have measured, at halvings of the longest one."""
    counts = Counter(step for curve in curves for step in curve)
    above = max(counts, default=0)
    chosen: list[int] = []
    for step in sorted((step for step, count in counts.items() if step > 0 and 2 * count > len(curves)), reverse=True):
        if 2 * step <= above and len(chosen) < most:
            chosen.append(step)
            above = step
    return tuple(reversed(chosen))


def write_pruning_report(sought: Sought) -> str:
    """The report on a search's recorded trials: pruning.csv and pruning_thresholds.csv beside its own; the text.

    Raises NoCurves, StorageUnavailable, OtherSearch, TrackingUnavailable.
    """
    from sweeps.search import read_trials  # Optuna

    search, objective = sought.search, sought.search.objectives[0]
    pruning = search.pruning or Pruning(rungs=(0.5,), metric="validation/lm_loss")
    keys = {key for trial in read_trials(sought.name, sought.storage) for key in trial.keys}
    runs = list(one_per_key(anywhere(keys)).values())
    settings = {run.key: recorded_settings(run.params) for run in runs}
    found = read_pruning_report(
        runs,
        metric=pruning.metric,
        direction=pruning.direction,
        objective=objective.metric,
        objective_direction=objective.direction,
        rungs=rungs_of(pruning, sought.base.train.steps) if search.pruning else (),
        flops=lambda run: math.nan if (of_run := settings[run.key]) is None else of_run.train_work(),
        plateau=pruning.plateau,
    )
    home = sought.out / sought.profile / sought.study.name
    campaigns = {run.campaign for run in runs}
    there = (path.parent for path in sorted(home.rglob(FILE)) if id_in(path.parent) in campaigns)
    folder = next(there, home / label(sought.changes))
    contents = {"pruning.csv": rungs_csv(found), "pruning_thresholds.csv": thresholds_csv(found)}
    write_files(folder, {name: content.encode() for name, content in contents.items()})
    return f"{text(found, sought.name, pruning.metric)}\n{folder}/\n  {'  '.join(contents)}"


# --- forms -----------------------------------------------------------------------------------------------------------


def foretells(rung: Rung, trust: float) -> str:
    """Whether the order at a rung foretells the one at the end, in words."""
    if rung.trials < 3:
        return "too few trials"
    if rung.spearman is None:
        return "all equal"
    if rung.spearman.low is None:
        return "too few trials"
    if rung.spearman.low >= trust:
        return "yes"
    return "unsure" if rung.spearman.low > 0 else "no"


def text(report: PruningReport[Key], name: str, metric: str, width: int | None = None) -> str:
    """For the terminal, in at most `width` columns; None: the terminal's."""
    width = screen.width() if width is None else width
    left_out = f"; {report.left_out} without an end are left out" if report.left_out else ""
    heading = f"{name}: what {metric} says of the end, {report.trials} trials{left_out}"
    rungs = lay_out(["Step", *_rung_columns(report)], [_rung_line(report, rung) for rung in report.rungs], width=width)
    replays = lay_out(
        ["Keep", "At steps", *_replay_columns(report)],
        [_replay_line(report, replay) for replay in report.replays],
        width=width,
        labels=2,
    )
    under = [
        "Order: Spearman's rank correlation with the end, below it its 95 % interval. A rule may prune at a step whose"
        f" interval lies above {report.trust:g}: {_steps(report.trusted) or 'here at none'}.",
        f"Pruned: so many of {report.trials} had only that share of them gone on. Winners, the best at the end: "
        + ", ".join(f"#{rank} {key}" for rank, key in enumerate(report.winners, 1))
        + ".",
    ]
    return plain(
        "\n\n".join([prose(heading, width), rungs, replays, "\n".join(prose(one, width) for one in under)]) + "\n"
    )


def _rung_columns(report: PruningReport[Key]) -> list[str]:
    return ["Trials", *(["On plateau"] if _has_plateau(report) else []), "Order", "Kendall", "Foretells"]


def _rung_line(report: PruningReport[Key], rung: Rung) -> list[str]:
    order = NOTHING if rung.spearman is None else _signed(rung.spearman.value)
    if rung.spearman is not None and rung.spearman.low is not None and rung.spearman.high is not None:
        order += f"\n[{_signed(rung.spearman.low)}, {_signed(rung.spearman.high)}]"
    plateau = [str(rung.on_plateau)] if _has_plateau(report) else []
    kendall = NOTHING if rung.kendall is None else _signed(rung.kendall)
    return [f"{rung.step:,}", str(rung.trials), *plateau, order, kendall, foretells(rung, report.trust)]


def _replay_columns(report: PruningReport[Key]) -> list[str]:
    flops = any(replay.flops_saved is not None for replay in report.replays)
    return ["Pruned", "Steps saved", *(["FLOPs saved"] if flops else []), "Winners killed"]


def _replay_line(report: PruningReport[Key], replay: Replay[Key]) -> list[str]:
    flops = [] if len(_replay_columns(report)) == 3 else [_share(replay.flops_saved)]
    killed = ", ".join(f"#{report.winners.index(key) + 1}" for key in replay.winners) or "none"
    return [
        _share(replay.keep),
        _steps(replay.rungs),
        str(len(replay.pruned)),
        _share(replay.steps_saved),
        *flops,
        killed,
    ]


def _has_plateau(report: PruningReport[Key]) -> bool:
    return any(rung.on_plateau is not None for rung in report.rungs)


def _steps(steps: Sequence[int]) -> str:
    return ", ".join(f"{step:,}" for step in steps)


def _share(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:.0f} %"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def rungs_csv(report: PruningReport[Key]) -> str:
    """A line per rung, in full precision."""
    header = ["step", "trials", "on_plateau", "spearman", "spearman95_low", "spearman95_high", "kendall", "foretells"]
    lines = []
    for rung in report.rungs:
        found = rung.spearman
        order = [None] * 3 if found is None else [found.value, found.low, found.high]
        lines.append([rung.step, rung.trials, rung.on_plateau, *order, rung.kendall, foretells(rung, report.trust)])
    return csv_text(header, lines)


def thresholds_csv(report: PruningReport[Key]) -> str:
    """A line per threshold and rungs, in full precision; trials by their keys."""
    header = ["keep", "steps", "pruned", "of", "steps_saved", "flops_saved", "winners_killed", "pruned_trials"]
    lines = [
        [
            replay.keep,
            " ".join(map(str, replay.rungs)),
            len(replay.pruned),
            report.trials,
            replay.steps_saved,
            replay.flops_saved,
            " ".join(map(str, replay.winners)),
            " ".join(map(str, replay.pruned)),
        ]
        for replay in report.replays
    ]
    return csv_text(header, lines)
