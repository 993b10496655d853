"""A tuned study: as published and tuned alike side by side, what was chosen, and whether the order changed.

Rendering only, from the record alone; Markdown, CSV, the terminal and the page print the same cells.
"""

from __future__ import annotations

from collections.abc import Sequence

from reports.layout import lay_out, prose
from reports.plain import csv_text, plain
from reports.search_tables import difference_text, param_text, settings_line, spread_text, trials_csv, value_text
from reports.table import NOTHING
from reports.write.markdown import markdown_code, markdown_table, markdown_text
from sweeps import screen
from sweeps.records.summary import Spread, spread
from sweeps.tune_record import Swap, TunedRow, TuningRecord
from trm_core.settings_as_text import setting_text

SWAPS_NAMED = 6  # in prose, before "and N more pairs"; the CSV has all means


# --- words, shared by every form -------------------------------------------------------------------------------------


def heading(record: TuningRecord) -> str:
    """What was tuned, and how thoroughly."""
    changes = f" with {', '.join(record.changes)}" if record.changes else ""
    n_seeds = "1 seed" if len(record.seeds) == 1 else f"{len(record.seeds)} seeds"
    return (
        f"{record.title}, profile {record.profile}{changes}: as published, and every row tuned alike by"
        f" {record.search} ({record.trials} trials a row, then {n_seeds})"
    )


SCORES_HEADER = ["Row", "As published", "Tuned alike", "Gain"]


def score_cells(record: TuningRecord, row: TunedRow) -> list[str]:
    """A row's test scores."""
    scores = [_score_text(record, found) for found in (row.as_published, row.tuned)]
    return [row.name, *scores, difference_text(record.metric, row.gain)]


def _score_text(record: TuningRecord, found: Spread | None) -> str:
    """ "66.0 ± 3.1", "66.0 (1 of 2)" where seeds are missing."""
    missing = found is not None and found.n < len(record.seeds)
    return spread_text(record.metric, found) + (f" ({found.n} of {len(record.seeds)})" if found and missing else "")


def settings_header(record: TuningRecord) -> list[str]:
    """Of what each row was given: the searched settings by their last part, the trials and the validation scores."""
    labels = record.rows[0].search.labels.values() if record.rows else ()
    return ["Row", *labels, "Trials", "As searched", "Fresh seeds"]


def settings_cells(record: TuningRecord, row: TunedRow) -> list[str]:
    """A row's own best settings, its trials, and validation: as searched and at seeds that the search has not seen."""
    chosen, fresh = row.chosen, row.fresh
    params = [param_text(chosen.params[name]) if chosen and name in chosen.params else "" for name in row.search.names]
    searched = value_text(record.objective, chosen.values[0]) if chosen else NOTHING
    again = spread_text(record.objective, spread(fresh.validation) if fresh and fresh.validation else None)
    return [row.name, *params, trials_text(row), searched, again]


def scores(record: TuningRecord) -> list[list[str]]:
    """The first table's lines."""
    return [score_cells(record, row) for row in record.rows]


def settings(record: TuningRecord) -> list[list[str]]:
    """The second table's lines."""
    return [settings_cells(record, row) for row in record.rows]


def assignments(record: TuningRecord) -> list[tuple[str, str]]:
    """Each row's chosen settings in full precision, as --set takes them: "optim.lr=0.003 optim.weight_decay=0.1"."""
    found = []
    for row in record.rows:
        found += [(row.name, settings_line(row.search, row.chosen))] if row.chosen and row.chosen.params else []
    return found


def trials_text(row: TunedRow) -> str:
    """ "16", "14 of 16": those that are complete."""
    n, complete = len(row.search.trials), len(row.search.complete)
    return str(n) if n == complete else f"{complete} of {n}"


def caption(record: TuningRecord) -> str:
    """What the scores are, and what is fair in them."""
    several = len(record.seeds) > 1
    interval = " ± and brackets: 95 % interval of the mean over seeds (Student t)." if several else ""
    seeds = ", ".join(map(str, record.seeds))
    paired = ", seed by seed" if several else ""
    return (
        f"{record.metric} in %, mean over seeds {seeds} in both columns; gain in points{paired}.{interval} Every row"
        f" had the same space and {record.trials} trials, each as many steps as its published run, at a seed of their"
        " own; its best on validation was made again at these seeds. The test set has chosen nothing."
    )


def settings_caption(record: TuningRecord) -> str:
    """What the second table holds."""
    return (
        f"Each row's own best settings. As searched: {record.objective} of the best trial, the luckiest too;"
        " fresh seeds: the same settings at the seeds of the table above."
    )


def order_text(record: TuningRecord) -> str:
    """Whether the order of the rows changed, and which pairs."""
    n, left = len(record.compared), [row.name for row in record.rows if row not in record.compared]
    without = f" Without a number on both sides: {'; '.join(left)}." if left else ""
    if n < 2:
        return f"Fewer than two rows have both numbers: no order to compare.{without}"
    if not record.swaps:
        ties = " Equal means are in no order." if _has_ties(record) else ""
        return f"No two of the {n} rows have changed their order.{ties}{without}"
    shown = "; ".join(map(_swap_text, record.swaps[:SWAPS_NAMED]))
    more = f"; and {len(record.swaps) - SWAPS_NAMED} more" if len(record.swaps) > SWAPS_NAMED else ""
    pairs = "1 pair" if len(record.swaps) == 1 else f"{len(record.swaps)} pairs"
    last = (
        ""
        if all(swap.is_clear for swap in record.swaps)
        else (" (?): in one of the tables at least the intervals of the two overlap, or there are none.")
    )
    return f"The order of the rows changed, {pairs} of {n * (n - 1) // 2}: {shown}{more}.{last}{without}"


def _has_ties(record: TuningRecord) -> bool:
    """Whether two rows have the same mean in one of the tables."""
    columns = ([row.as_published for row in record.compared], [row.tuned for row in record.compared])
    return any(len({found.mean for found in of if found}) < len(record.compared) for of in columns)


def _swap_text(swap: Swap) -> str:
    return f"{swap.below} now above {swap.above}{'' if swap.is_clear else ' (?)'}"


# --- forms -----------------------------------------------------------------------------------------------------------


def markdown(record: TuningRecord) -> str:
    """The report as GitHub Markdown, with each row's settings as --set takes them."""
    again = [f"- {markdown_text(name)}: {markdown_code(f'--set {line}')}" for name, line in assignments(record)]
    parts = [f"# {markdown_text(heading(record))}", markdown_table(SCORES_HEADER, scores(record), text_columns=1)]
    parts += [markdown_text(order_text(record)), markdown_text(caption(record)), "## Chosen settings"]
    parts += [
        markdown_table(settings_header(record), settings(record), text_columns=1),
        markdown_text(settings_caption(record)),
    ]
    parts += ["\n".join(again), "\n".join(f"- {markdown_text(note)}" for note in record.notes)]
    return plain("\n\n".join(part for part in parts if part) + "\n")


def terminal(record: TuningRecord, width: int | None = None) -> str:
    """The report as plain text of at most `width` columns; None: the terminal's."""
    width = screen.width() if width is None else width
    parts = [
        prose(heading(record), width),
        lay_out(SCORES_HEADER, scores(record), width=width),
        prose(order_text(record), width),
        prose(caption(record), width),
        lay_out(settings_header(record), settings(record), width=width),
        prose(settings_caption(record), width),
        *(prose(note, width) for note in record.notes),
    ]
    return plain("\n\n".join(parts))


def rows_csv(record: TuningRecord) -> str:
    """A line per row, in full precision; values by seed in the seeds' order."""
    names = [axis.name for axis in record.rows[0].search.space] if record.rows else []
    header = ["study", "profile", "search", "row", "metric", "seeds", "rank_published", "rank_tuned"]
    header += [
        f"{column}_{end}" for column in ("published", "tuned", "gain") for end in ("mean", "t95_low", "t95_high")
    ]
    header += ["published_values", "tuned_values", "objective", "searched", "fresh_mean", "fresh_t95_low"]
    header += ["fresh_t95_high", "trials", "complete", "trial_flops", "chosen_trial"]
    header += [f"{word}.{name}" for word in ("published", "tuned") for name in names]
    before, after = record.order(lambda row: row.as_published), record.order(lambda row: row.tuned)
    lines: list[Sequence[object]] = []
    for row in record.rows:
        chosen, fresh = row.chosen, row.fresh
        ranks = [order.index(row.name) + 1 if row.name in order else "" for order in (before, after)]
        of = [record.study, record.profile, record.search, row.name, record.metric, " ".join(map(str, record.seeds))]
        scores = [*_ends(row.as_published), *_ends(row.tuned), *_ends(row.gain)]
        values = [" ".join(str(by[seed]) for seed in record.seeds if seed in by) for by in (row.published, row.test)]
        validation = [chosen.values[0] if chosen else "", *_ends(spread(fresh.validation) if fresh else None)]
        trials = [len(row.search.trials), len(row.search.complete), row.flops, chosen.number if chosen else ""]
        settings = [setting_text(row.settings[row.search.setting(name)]) for name in names]
        tuned = [setting_text(chosen.params[name]) if chosen and name in chosen.params else "" for name in names]
        lines.append([*of, *ranks, *scores, *values, record.objective, *validation, *trials, *settings, *tuned])
    return csv_text(header, lines)


def every_trial_csv(record: TuningRecord) -> str:
    """The trials of all rows, one after the other; the first column says whose."""
    lines = [trials_csv(row.search).splitlines(keepends=True) for row in record.rows]
    return "".join(line for at, of_row in enumerate(lines) for line in of_row[min(at, 1) :])


def _ends(found: Spread | None) -> Sequence[object]:
    return ["", "", ""] if found is None else [found.mean, found.low, found.high]
