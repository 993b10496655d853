"""A study's tables as CSV: every number in full precision, accuracies as fractions. Runs and curves: frames.py."""

from __future__ import annotations

from collections.abc import Sequence

from reports.plain import csv_text
from reports.stats import Interval
from reports.tables.losses import loss_means
from reports.types import Table, TableRow
from sweeps.study import Losses


def rows_csv(table: Table) -> str:
    """One line per row, every number in full precision, accuracies as fractions."""
    places = tuple(dict.fromkeys(name for row in table.rows for name in row.place))
    losses = table.study.layout == "losses"
    header = (
        ["study", "profile", "changed_settings", "comparable_with_paper", "row", "base"]
        + [f"place_{name}" for name in places]
        + [
            "depth",
            "depth_printed_in_paper",
            "forward_passes_per_training_step",
            "parameters",
            "supervision_steps_at_test",
            "seeds_finished",
            "accuracy_mean",
            "seed_interval_95_low",
            "seed_interval_95_high",
            "test_puzzles",
            "test_set_wilson95_low",
            "test_set_wilson95_high",
            "cell_accuracy_mean",
            *(["shortest_path_accuracy_mean"] if table.has_shortest_paths else []),
            "paper_accuracy",
            "difference_to_paper",
            *([f"loss_{of}_{what}" for of in ("ours", "source") for what in LOSS_NUMBERS] if losses else []),
            "status",
            "verdict",
            "verdict_reason",
            "more_seeds_that_decide",
            "baseline",
            "difference_to_baseline",
            "difference_to_baseline_p",
            "not_below_the_best",
            *(["leaked_test_tasks"] if table.leak else []),
        ]
    )
    lines = [
        [
            table.study.name,
            table.profile,
            " ".join(table.overrides),
            "yes" if table.comparable else "no",
            row.name,
            row.base,
            *(row.place.get(name, "") for name in places),
            row.depth,
            row.depth if row.paper_depth is None else row.paper_depth,
            row.nfp,
            row.parameters,
            row.eval_steps,
            len(row.values),
            row.mean,
            *_ends(row.seed_interval),
            row.puzzles,
            *_ends(row.test_interval),
            row.cell_accuracy,
            *([row.shortest_path] if table.has_shortest_paths else []),
            round(row.paper / 100, 6) if isinstance(row.paper, float) else row.paper,
            None if row.difference is None else round(row.difference / 100, 15),
            *([*_loss_numbers(row.losses), *_loss_numbers([row.paper_losses])] if losses else []),
            row.status or "finished",
            row.verdict.word,
            row.verdict.why,
            row.verdict.more_seeds,
            *_against(row),
            "yes" if row.is_best else "no",
            *([" ".join(sorted({task for run in row.runs for task in run.leaks}))] if table.leak else []),
        ]
        for row in table.rows
    ]
    return csv_text(header, lines)


LOSS_NUMBERS = ("initial", "final", "minimum", "improvement")


def _loss_numbers(losses: Sequence[Losses | None]) -> list[float | None]:
    """Means over the curves: initial, final, minimum in nats, improvement as a fraction."""
    known = [one for one in losses if one is not None]
    if not known:
        return [None] * 4
    return [*loss_means(known)]


def _against(row: TableRow) -> list[object]:
    return [None] * 3 if row.against is None else [row.against.other, row.against.mean, round(row.against.p, 4)]


def quoted_csv(table: Table) -> str:
    """What the paper quotes, a line per number; a file of its own, so that it never meets ours."""
    header = ["study", "source", "quoted", "parameters", "column", "accuracy"]
    lines = [
        [table.study.name, table.study.source, one.name, one.parameters, column, round(value / 100, 6)]
        for one in table.quoted
        for column, value in one.cells.items()
    ]
    return csv_text(header, lines)


def votes_csv(table: Table) -> str:
    """Accuracy against the number of votes, a line per row and number; fractions, means over seeds."""
    header = ["study", "profile", "row", "seeds", "votes", "pass@1", "pass@2"]
    lines = [
        [table.study.name, table.profile, curve.row, curve.seeds, votes, curve.pass_at[1][at], curve.pass_at[2][at]]
        for curve in table.vote_curves
        for at, votes in enumerate(curve.votes)
    ]
    return csv_text(header, lines)


def speed_csv(table: Table) -> str:
    """What it took to come to the accuracy that the study asks for, a line per run; empty where it never came there."""
    header = ["study", "profile", "row", "seed", "data_seed", "reach", "steps", "flops", "seconds"]
    lines = [
        [
            *(table.study.name, table.profile, row.name, one.seeds.train, one.seeds.data),
            *(table.study.reach, one.step, one.flops, one.seconds),
        ]
        for row in table.rows
        for one in row.reached
    ]
    return csv_text(header, lines)


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (interval.low, interval.high)


def claims_csv(table: Table) -> str:
    """A line per pair of rows that a claim sets apart: by the claim, `better` is above `worse`."""
    header = ["study", "profile", "claim", "verdict", "reason", "better", "worse", "difference", "p", "test"]
    lines: list[list[object]] = []
    for claim in table.claims:
        head = [table.study.name, table.profile, claim.says, claim.word, claim.why]
        lines += [[*head, one.row, one.other, one.mean, round(one.p, 4), one.by] for one in claim.pairs]
        lines += [] if claim.pairs else [[*head, None, None, None, None, None]]
    return csv_text(header, lines)


def checkpoints_csv(table: Table) -> str:
    """The last checkpoint beside the best on validation and the best on test, which is peeking."""
    header = ["study", "profile", "row", "seeds", "last", "best_on_validation", "best_on_test_peeking", "late_decline"]
    lines = [
        [
            table.study.name,
            table.profile,
            one.row,
            one.seeds,
            one.last,
            one.by_validation,
            one.by_test,
            "yes" if one.declined else "no",
        ]
        for one in table.selected
    ]
    return csv_text(header, lines)
