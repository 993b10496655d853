"""A search's trials, the settings it chose, and what fresh seeds hold of its promise: Markdown, CSV, terminal text.

Rendering only, from the record alone; all forms, and the page, print the same cells. The test set is shown for
what was confirmed, and decides nothing.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence

from reports.layout import lay_out, prose
from reports.plain import csv_text, one_line, plain
from reports.table import NOTHING
from reports.words import percent, short
from reports.write.markdown import markdown_table, markdown_text
from sweeps import screen
from sweeps.pruning import Value
from sweeps.records.summary import Spread, spread
from sweeps.search_record import Confirmed, SearchRecord, State, Trial
from trm_core.settings_as_text import setting_text

SHOWN = 10  # trials in a terminal; the files have all
WORDS: dict[State, str] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}


# --- words and rounding, shared by every form ------------------------------------------------------------------------


def is_share(metric: str) -> bool:
    """Whether a metric is a fraction, printed in per cent."""
    return "accuracy" in metric or "pass_at" in metric


def value_text(metric: str, value: float) -> str:
    """ "71.2" per cent of an accuracy; else four digits that count: "0.4312", "2.13e+14"."""
    return percent(value) if is_share(metric) else f"{value:.4g}"


def spread_text(metric: str, found: Spread | None) -> str:
    """ "66.0 ± 3.1"; a dash where there is nothing."""
    if found is None:
        return NOTHING
    half = "" if found.high is None else f" ± {value_text(metric, found.high - found.mean)}"
    return value_text(metric, found.mean) + half


def difference_text(metric: str, found: Spread | None) -> str:
    """ "+5.2 [+2.1, +8.3]", with its sign and interval."""
    if found is None:
        return NOTHING

    def signed(value: float) -> str:
        return ("−" if value < 0 else "+") + value_text(metric, abs(value))

    ends = "" if found.low is None or found.high is None else f" [{signed(found.low)}, {signed(found.high)}]"
    return signed(found.mean) + ends


def param_text(value: Value) -> str:
    """A setting's value as a table has it: four digits that count."""
    return f"{value:.4g}" if isinstance(value, float) else setting_text(value)


def columns(record: SearchRecord) -> list[str]:
    """The objectives' names over their columns: "exact_accuracy %"."""
    named = zip(record.metrics, record.objectives, strict=True)
    return [f"{name} %" if is_share(objective.metric) else name for name, objective in named]


def heading(record: SearchRecord) -> str:
    """What was searched, and how far it is."""
    counts = ", ".join(f"{n} {word}" for state, word in WORDS.items() if (n := record.count(state)))
    trials = "1 trial" if len(record.trials) == 1 else f"{len(record.trials)} trials"
    return f"{record.title or record.name}, profile {record.profile}: {trials} ({counts})"


def caption(record: SearchRecord, mark: str) -> str:
    """What the numbers are, and which are the best."""
    wanted = " and ".join(
        f"{one.metric} ({'the more' if one.direction == 'maximize' else 'the less'} the better)"
        for one in record.objectives
    )
    if len(record.objectives) > 1:
        return f"Searched for {wanted}. {mark}: no other trial is at least as good in all and better in one."
    return f"Searched for {wanted}. {mark}: chosen."


def is_marked(record: SearchRecord, trial: Trial) -> bool:
    """Whether it is chosen or, of several objectives, on the front."""
    if len(record.objectives) == 1:
        return record.chosen is not None and trial.number == record.chosen.number
    return any(trial.number == one.number for one in record.front)


def state_text(record: SearchRecord, trial: Trial) -> str:
    """What became of it: "complete", "pruned at 400", "failed: out of memory"."""
    word = WORDS[trial.state]
    if trial.state == "PRUNED" and trial.reached is not None:
        return f"{word} at {trial.reached:,}"
    return f"{word}: {short(trial.reason, 60)}" if trial.reason else word


def trial_header(record: SearchRecord) -> list[str]:
    """Columns of the trials' table."""
    return ["Trial", *columns(record), *record.labels.values(), "State"]


def trial_cells(record: SearchRecord, trial: Trial) -> list[str]:
    """One line of it."""
    values = [NOTHING] * len(record.objectives)
    if trial.state == "COMPLETE":
        values = [value_text(o.metric, v) for o, v in zip(record.objectives, trial.values, strict=True)]
    params = [param_text(trial.params[name]) if name in trial.params else "" for name in record.names]
    return [str(trial.number), *values, *params, state_text(record, trial)]


def trial_lines(record: SearchRecord) -> list[list[str]]:
    """All of it, the best first."""
    return [trial_cells(record, trial) for trial in record.ranked]


def settings_line(record: SearchRecord, trial: Trial) -> str:
    """Its settings as `--set` takes them and a shell leaves them, in full precision; a storage is anybody's."""
    assigned = (f"{record.setting(name)}={setting_text(value)}" for name, value in trial.params.items())
    return " ".join(shlex.quote(one_line(text)) for text in assigned)


def chosen_text(record: SearchRecord) -> str:
    """Which settings the search has chosen, and on what grounds."""
    if len(record.objectives) > 1:
        numbers = ", ".join(str(trial.number) for trial in record.front)
        word = "trial" if len(record.front) == 1 else "trials"
        return f"The Pareto front: {word} {numbers}." if numbers else "No trial is complete: nothing to choose from."
    trial = record.chosen
    if trial is None:
        return "No trial is complete: nothing to choose from."
    if any(one.trial == trial.number and one.validation for one in record.confirmed):
        return f"Chosen: trial {trial.number}, the best on validation with fresh seeds."
    return f"Best as searched: trial {trial.number}, not confirmed with fresh seeds yet."


CONFIRMED_HEADER = ["Trial", "As searched", "Fresh seeds", "Promised too much", "Test"]


def confirmed_lines(record: SearchRecord) -> list[list[str]]:
    """Each confirmed trial: validation as searched, with fresh seeds, the difference, and test."""
    metric = record.objectives[0].metric
    lines = []
    for one in _in_rank(record):
        trial = record.trial(one.trial)
        searched = NOTHING if trial is None or not trial.values else value_text(metric, trial.values[0])
        fresh = spread_text(metric, _of(one.validation))
        count = f" ({len(one.validation)})" if one.validation and _common_seeds(record) is None else ""
        over = difference_text(metric, record.over_promise(one))
        lines.append([str(one.trial), searched, fresh + count, over, spread_text(record.test_metric, _of(one.test))])
    return lines


def confirmed_caption(record: SearchRecord) -> str:
    """What stands in the confirmation's table."""
    seeds = _common_seeds(record)
    over = "in parentheses, how many" if seeds is None else f"{seeds} for each trial"
    unit, points = (" in %", "points, with") if is_share(record.objectives[0].metric) else ("", "with")
    return (
        f"{record.objectives[0].metric}{unit} as the search saw it, then the mean over seeds that it has not seen"
        f" ({over}), ± half the 95 % interval (Student t). Promised too much: the difference ({points}"
        " the interval of the fresh seeds' mean); the best of many trials is lucky, too. Test:"
        f" {record.test_metric or 'not measured'}, with the same fresh seeds, looked at once; it chooses nothing."
    )


def promise_text(record: SearchRecord) -> str:
    """By how far validation over-promised, in one sentence; empty where nothing is confirmed."""
    found = [over.mean for one in record.confirmed if (over := record.over_promise(one)) is not None]
    if not found:
        return ""
    metric = record.objectives[0].metric
    unit = " points" if is_share(metric) else ""
    each = f"the {len(found)} confirmed trials" if len(found) > 1 else "the confirmed trial"
    mean = sum(found) / len(found)
    off = value_text(metric, abs(mean))
    if not float(off):  # also where it is nothing as it is printed
        return f"On average the search promised what fresh seeds held for {each}."
    return f"On average the search promised {off}{unit} {'too much' if mean > 0 else 'too little'} for {each}."


def _in_rank(record: SearchRecord) -> list[Confirmed]:
    ranks = {trial.number: rank for rank, trial in enumerate(record.ranked)}
    return sorted(record.confirmed, key=lambda one: ranks.get(one.trial, len(ranks)))


def _of(values: Sequence[float]) -> Spread | None:
    return spread(values) if values else None


def _common_seeds(record: SearchRecord) -> int | None:
    counts = {len(one.validation) for one in record.confirmed if one.validation}
    return counts.pop() if len(counts) == 1 else None


# --- forms -----------------------------------------------------------------------------------------------------------


def markdown(record: SearchRecord) -> str:
    """The report as GitHub Markdown, with every trial."""

    def table(header: Sequence[str], lines: Iterable[Sequence[str]], marked: Callable[[str], bool]) -> str:
        cells = [[markdown_text(cell) for cell in line] for line in lines]
        shown = [[f"**{line[0]}**", *line[1:]] if marked(line[0]) else line for line in cells]
        return markdown_table([*map(markdown_text, header)], shown, text_columns=0, is_markdown=True)

    marks = {str(trial.number) for trial in record.trials if is_marked(record, trial)}
    parts = [f"# {markdown_text(heading(record))}", markdown_text(chosen_text(record))]
    parts += [f"```\n--set {settings_line(record, trial)}\n```" for trial in _best(record)]
    if record.confirmed:
        parts += ["## Confirmed with fresh seeds", table(CONFIRMED_HEADER, confirmed_lines(record), marks.__contains__)]
        parts += [markdown_text(promise_text(record)), markdown_text(confirmed_caption(record))]
    parts += ["## Trials", table(trial_header(record), trial_lines(record), marks.__contains__)]
    parts += [markdown_text(caption(record, "bold")), "\n".join(f"- {markdown_text(note)}" for note in record.notes)]
    return plain("\n\n".join(part for part in parts if part) + "\n")


def _best(record: SearchRecord) -> tuple[Trial, ...]:
    """The chosen one, where there is one."""
    return () if record.chosen is None else (record.chosen,)


def terminal(record: SearchRecord, width: int | None = None) -> str:
    """The report as plain text of at most `width` columns, with the best trials; None: the terminal's."""
    width = screen.width() if width is None else width

    def starred(cells: Sequence[str]) -> list[str]:
        trial = record.trial(int(cells[0]))
        return [cells[0] + ("*" if trial is not None and is_marked(record, trial) else ""), *cells[1:]]

    ranked = record.ranked
    lines = [starred(trial_cells(record, trial)) for trial in ranked[:SHOWN]]
    more = [f"… and {len(ranked) - SHOWN} more, in trials.csv"] if len(ranked) > SHOWN else []
    parts = [prose(heading(record), width), lay_out(trial_header(record), [*lines, *more], width=width)]
    parts.append(prose(caption(record, "*"), width))
    said = [prose(chosen_text(record), width)]
    said += [prose(f"--set {settings_line(record, trial)}", width, "  ") for trial in _best(record)]
    parts.append("\n".join(said))
    if record.confirmed:
        parts.append(lay_out(CONFIRMED_HEADER, [starred(line) for line in confirmed_lines(record)], width=width))
        under = (promise_text(record), confirmed_caption(record))
        parts.append("\n".join(prose(one, width) for one in under if one))
    parts += [prose(note, width) for note in record.notes]
    return plain("\n\n".join(parts) + "\n")


def trials_csv(record: SearchRecord) -> str:
    """A line per trial, in full precision, best first."""
    metrics = [one.metric for one in record.objectives]
    header = ["search", "profile", "trial", "state", "best", *metrics, *record.names, "reached_step", "keys"]
    header += ["started_utc", "ended_utc", "seconds", "reason"]
    lines = []
    for trial in record.ranked:
        values = trial.values if trial.state == "COMPLETE" else [None] * len(metrics)
        params = [setting_text(trial.params[name]) if name in trial.params else "" for name in record.names]
        times = [None if moment is None else moment.isoformat() for moment in (trial.started, trial.ended)]
        seconds = (trial.ended - trial.started).total_seconds() if trial.started and trial.ended else None
        about = [record.name, record.profile, trial.number, WORDS[trial.state]]
        best = "yes" if is_marked(record, trial) else "no"
        last = [trial.reached, " ".join(trial.keys), *times, seconds, trial.reason]
        lines.append([*about, best, *values, *params, *last])
    return csv_text(header, lines)


def confirmed_csv(record: SearchRecord) -> str:
    """A line per confirmed trial, in full precision; each seed's values in the seeds' order."""
    header = ["search", "profile", "trial", "chosen", "metric", "as_searched", "seeds", "fresh_values", "fresh_mean"]
    header += ["fresh_t95_low", "fresh_t95_high", "promised_too_much", "promised_t95_low", "promised_t95_high"]
    header += ["test_metric", "test_values", "test_mean", "test_t95_low", "test_t95_high"]
    lines = []
    for one in _in_rank(record):
        trial = record.trial(one.trial)
        chosen = "yes" if trial is not None and is_marked(record, trial) else "no"
        searched = None if trial is None or not trial.values else trial.values[0]
        seeds, fresh, test = (" ".join(map(str, of)) for of in (one.seeds, one.validation, one.test))
        about = [record.name, record.profile, one.trial, chosen, record.objectives[0].metric, searched, seeds]
        over = _ends(record.over_promise(one))
        tested = [record.test_metric, test, *_ends(_of(one.test))]
        lines.append([*about, fresh, *_ends(_of(one.validation)), *over, *tested])
    return csv_text(header, lines)


def _ends(found: Spread | None) -> list[float | None]:
    return [None] * 3 if found is None else [found.mean, found.low, found.high]
