"""A Table as Markdown, CSV, LaTeX and terminal text: rendering only, every number comes from collect.

All of them print the same cells, so the words and the rounding are in one place, at the top.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from reports import paper, stats
from reports.collect import (
    EXACT,
    LOSS,
    Grid,
    SeedRun,
    Table,
    TableRow,
    accuracy_metric,
    kind,
    loss_metric,
    measured,
    passes,
)
from reports.layout import Line, lay_out, prose
from reports.plain import csv_text, one_line, plain
from reports.stats import Interval
from sweeps import screen
from sweeps.study import Losses, Quoted

DAGGER = "†"
NOTHING = "–"
QUOTED = "Quoted from the paper, not run here"

# --- words and rounding, shared by every form ---------------------------------------------------------------------


def percent(fraction: float) -> str:
    """0.8741 → "87.4"."""
    return f"{100 * fraction:.1f}"


def bracket(interval: Interval | None) -> str:
    """An interval in per cent, "[85.2, 89.3]"."""
    return NOTHING if interval is None else f"[{percent(interval.low)}, {percent(interval.high)}]"


def spread(row: TableRow) -> str:
    """The half-width over seeds in points, "± 1.2"."""
    return NOTHING if row.seed_interval is None else f"± {percent(row.seed_interval.half_width)}"


def ours(row: TableRow, seeds: int | None) -> str:
    """Our cell: mean and spread, with the number of seeds unless all rows share it; or why there is no number."""
    if row.mean is None:
        return short(row.status.partition(":")[0], 28)
    text = percent(row.mean) + ("" if row.seed_interval is None else f" {spread(row)}")
    return text if seeds == len(row.values) else f"{text} ({len(row.values)})"


def papers(row: TableRow) -> str:
    """The paper's cell, as printed there."""
    if row.paper is None:
        return NOTHING
    return one_line(row.paper) if isinstance(row.paper, str) else f"{row.paper:.1f}"


def difference(row: TableRow) -> str:
    """Ours minus the paper's, in points."""
    return NOTHING if row.difference is None else f"{row.difference:+.1f}".replace("-", "−")


def depth(row: TableRow) -> str:
    """The formula's depth, marked where the paper prints another."""
    return f"{row.depth}{DAGGER}" if flagged(row) else number(row.depth)


def number(count: int | None) -> str:
    """A count, 5,028,866; a dash where the row has none, since it is not possible."""
    return NOTHING if count is None else f"{count:,}"


def short(text: str, length: int) -> str:
    """The text in one line, cut with an ellipsis."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def flagged(row: TableRow) -> bool:
    """Whether the paper prints another depth than its formula."""
    return None not in (row.depth, row.paper_depth) and row.paper_depth != row.depth


def common_seeds(table: Table) -> int | None:
    """The number of seeds behind every number, where it is the same."""
    counts = {len(row.values) for row in table.rows if row.values}
    return counts.pop() if len(counts) == 1 else None


def caption(table: Table) -> str:
    """What the numbers are: metric, evaluation depth, seeds, and the two intervals apart."""
    seeds = common_seeds(table)
    if seeds is None:
        over = "the number of seeds in parentheses"
    else:
        over = f"mean over {seeds} seeds" if table.over == "seeds" else f"mean over {seeds} runs"
        over = "one seed per row" if seeds == 1 else over
    steps = " or ".join(str(count) for count in table.eval_steps)
    sentences = [
        f"{metric_on(table)} in %, {over}, evaluated with {steps} supervision step{'' if steps == '1' else 's'}."
    ]
    if (k := passes(table.study.metric)) is not None:
        voters = f" (at most {' or '.join(f'{count:,}' for count in table.voters)})" if table.voters else ""
        answers = "attempt is the answer" if k == 1 else f"attempts are the {k} answers"
        sentences.append(
            f"A task's {answers} with the most votes among its variants{voters}, cast by the run's last"
            " checkpoint alone. A task with several test inputs scores the share of them that is solved;"
            " it is not just solved or not, so there is no Wilson interval of the test set."
        )
    if any(row.seed_interval for row in table.rows):
        sentences.append(f"± is the 95 % interval of the mean over {table.over} (Student t){_shared_draws(table)}.")
    elif any(row.values for row in table.rows):
        sentences.append("With one seed there is no interval over seeds.")
    if any(row.test_interval for row in table.rows):
        sentences.append(
            f"Brackets: the 95 % interval that {measured(table.rows, ' or ')} test {_kind(table)} leave to one run of"
            " that accuracy (Wilson); it does not hold the spread over seeds."
        )
    return " ".join(sentences)


def _shared_draws(table: Table) -> str:
    """What the interval leaves out where both seeds vary."""
    return ", as if runs on the same puzzles were independent" if " and " in table.over else ""


def metric_name(table: Table) -> str:
    """The study's metric as a figure's axis says it."""
    k = passes(table.study.metric)
    if k is not None:
        return f"pass@{k}, test"
    metric = accuracy_metric(table.study)
    return "Exact accuracy, test" if metric == EXACT else metric


def metric_on(table: Table) -> str:
    """The study's metric and what it is measured on."""
    if (k := passes(table.study.metric)) is not None:
        return f"Test tasks solved in {_attempts(k)} (pass@{k})"
    metric = accuracy_metric(table.study)
    return f"Exact accuracy on the test {_kind(table)}" if metric == EXACT else metric


def _attempts(k: int) -> str:
    return {1: "one attempt", 2: "two attempts"}.get(k, f"{k} attempts")


def _kind(table: Table) -> str:
    return kind(row.puzzle for row in table.rows)


def footnotes(table: Table) -> tuple[str, ...]:
    """What stands under the table: the flagged depths, then the notes."""
    printed = dict.fromkeys(row.paper_depth for row in table.rows if row.paper_depth is not None and flagged(row))
    flags = (f"{DAGGER} {paper.other_depths(printed)}",) if printed else ()
    return flags + table.notes


def heading(table: Table) -> str:
    """One line: title, source, profile."""
    return f"{table.study.title}: {table.study.source}, profile {table.profile}"


# --- the paper's layout -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sheet:
    """A table as the paper lays it out, in text: columns of labels, then groups of columns under a name each."""

    labels: tuple[str, ...]
    groups: tuple[tuple[str, tuple[str, ...]], ...]  # ("HRM", ("depth", "paper", "ours"))
    lines: tuple[tuple[str, ...], ...]
    quoted: tuple[tuple[str, ...], ...] = ()  # lines under a rule: from the paper, not run here

    @property
    def header(self) -> tuple[str, ...]:
        """All columns' names, each with its group's."""
        return self.labels + tuple(f"{name} {what}" for name, whats in self.groups for what in whats)

    @property
    def text_columns(self) -> int:
        """How many columns, from the left, hold words: all labels, unless they are numbers such as k and T."""
        return len(self.labels) if any(len(label) > 1 for label in self.labels) else 0


def sheet(table: Table) -> Sheet | None:
    """What the paper or the source prints, ours beside it; None where the rows' list is all there is."""
    if table.study.layout == "losses":
        return _losses_sheet(table)
    return None if table.grid is None else _grid_sheet(table, table.grid)


def _grid_sheet(table: Table, grid: Grid) -> Sheet:
    """For each column depth, paper and ours; where it is a test set of its own, parameters in place of depth."""
    first = "params" if grid.by_puzzle else "depth"
    seeds = common_seeds(table)
    lines = []
    for labels, rows in grid.lines:
        cells = [one_line(label) for label in labels]
        for row in rows:
            if row is None:
                cells += [NOTHING] * 3
            else:
                cells += [size(row.parameters) if grid.by_puzzle else depth(row), papers(row), ours(row, seeds)]
        lines.append(tuple(cells))
    quoted = []
    for one in table.quoted if quotes_fit(table) else ():
        cells = [one_line(one.name)] + [""] * (len(grid.labels) - 1)
        for column in grid.columns:
            cells += ["", _quote(one, column), ""]
        quoted.append(tuple(cells))
    return Sheet(
        labels=tuple(label if len(label) == 1 else label.capitalize() for label in grid.labels),
        groups=tuple((one_line(column), (first, "paper", "ours")) for column in grid.columns),
        lines=tuple(lines),
        quoted=tuple(quoted),
    )


def quotes_fit(table: Table) -> bool:
    """Whether what is quoted has its columns in the paper's layout, so that it can stand there under a rule."""
    return table.grid is not None and all(set(one.cells) <= set(table.grid.columns) for one in table.quoted)


def quotes(table: Table) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """What is quoted as a table of its own, in the paper's words: header and lines."""
    columns = tuple(dict.fromkeys(column for one in table.quoted for column in one.cells))
    return (QUOTED, *map(one_line, columns)), [
        (one_line(one.name), *(_quote(one, column) for column in columns)) for one in table.quoted
    ]


def _quote(one: Quoted, column: str) -> str:
    return f"{one.cells[column]:.1f}" if column in one.cells else NOTHING


LOSSES = ("initial", "final", "minimum", "improvement %")


def _losses_sheet(table: Table) -> Sheet:
    """The training loss of each row, ours and the source's."""
    groups = (("Ours", LOSSES),) + ((("Source", LOSSES),) if any(row.paper_losses for row in table.rows) else ())
    lines = []
    for row in table.rows:
        cells = [one_line(row.name), *our_losses(row)]
        if len(groups) > 1:
            cells += [NOTHING] * 4 if row.paper_losses is None else loss_cells([row.paper_losses])
        lines.append(tuple(cells))
    return Sheet(("Row",), groups, tuple(lines))


def our_losses(row: TableRow) -> list[str]:
    """Initial, final, least loss and improvement; or, once, why there is none."""
    if row.losses:
        return loss_cells(row.losses)
    status = row.status.partition(":")[0] or "no curve"
    return [short("no curve" if status.startswith("no ") else status, 28), *[NOTHING] * 3]


def loss_cells(losses: Sequence[Losses]) -> list[str]:
    """The four cells of one or several curves: means, with the interval over seeds where there are several."""
    cells = []
    for column, digits, times in zip(_loss_columns(losses), (3, 3, 3, 1), (1, 1, 1, 100), strict=True):
        values = [times * value for value in column]
        interval = stats.seed_interval(values)
        spread = "" if interval is None else f" ± {interval.half_width:.{digits}f}"
        cells.append(f"{stats.mean(values):.{digits}f}{spread}".replace("-", "−"))
    return cells


def _loss_columns(losses: Iterable[Losses]) -> list[tuple[float, ...]]:
    """The values of all curves: initial, final, minimum in nats, improvement as a fraction."""
    return list(zip(*((one.initial, one.final, one.minimum, improvement(one)) for one in losses), strict=True))


def improvement(losses: Losses) -> float:
    """How much of the first loss is gone at the end, as a fraction."""
    return (losses.initial - losses.final) / losses.initial


LOSS_WORDS = {
    LOSS: "the mean over a puzzle's cells, and the halting loss",
    "train/lm_loss": "the mean over a puzzle's cells, without the halting loss",
}


def losses_caption(table: Table) -> str:
    """What the four numbers are, and over how many steps each is averaged."""
    counted = {run.log_every for row in table.rows if row.losses for run in row.runs if run.log_every is not None}
    every = " or ".join(str(count) for count in sorted(counted)) or "train.log_every"
    counts = {len(row.losses) for row in table.rows if row.losses}
    over = (
        "one seed per row"
        if counts == {1}
        else f"the mean over {table.over}, with its 95 % interval (Student t){_shared_draws(table)}"
    )
    steps = "after every training step" if every == "1" else f"each a mean over {every} training steps"
    loss = loss_metric(table.study)
    source = " The source's improvement is reckoned from its printed losses." if table_has_source(table) else ""
    return (
        f"Training loss in nats ({LOSS_WORDS.get(loss, loss)}), as a run reports it ({steps}):"
        " the first, the last and the least; improvement is (initial − final) / initial."
        " It is the loss of the weights in training, not of their EMA."
        f" Ours: {over}.{source}"
    )


def table_has_source(table: Table) -> bool:
    """Whether a source prints losses for any of these rows."""
    return any(row.paper_losses for row in table.rows)


def size(parameters: int | None) -> str:
    """A number of parameters as the paper prints it, "27M"; small models in thousands."""
    if parameters is None:
        return NOTHING
    if parameters >= 1_000_000:
        return f"{parameters / 1e6:.0f}M"
    return f"{parameters / 1e3:.0f}k" if parameters >= 1_000 else str(parameters)


# --- every row --------------------------------------------------------------------------------------------------------

ROW_HEADER = (
    "Row",
    "Depth",
    "NFP",
    "Parameters",
    "Seeds",
    "Ours",
    "Over seeds",
    "Test set",
    "Cells right",
    "Paper",
    "Difference",
)
A_SHORTEST_PATH = "A shortest path"


def row_header(table: Table) -> tuple[str, ...]:
    """The columns of the long table: the paper's where it prints numbers, the difference where there may be one."""
    left_out = set() if table.study.has_paper_numbers else {"Paper", "Difference"}
    left_out |= set() if table.comparable else {"Difference"}
    left_out |= set() if passes(table.study.metric) is None else {"Test set"}
    names = [name for name in ROW_HEADER if name not in left_out]
    if table.has_shortest_paths:
        names.insert(names.index("Cells right") + 1, A_SHORTEST_PATH)
    return tuple(names)


def row_cells(table: Table, row: TableRow) -> tuple[str, ...]:
    """One row of the long table as text, in the order of row_header."""
    cells = {
        "Row": row.name,
        "Depth": depth(row),
        "NFP": number(row.nfp),
        "Parameters": number(row.parameters),
        "Seeds": str(len(row.values)),
        "Ours": short(row.status.partition(":")[0], 28) if row.mean is None else percent(row.mean),
        "Over seeds": spread(row),
        "Test set": bracket(row.test_interval),
        "Cells right": NOTHING if row.cell_accuracy is None else percent(row.cell_accuracy),
        A_SHORTEST_PATH: NOTHING if row.shortest_path is None else percent(row.shortest_path),
        "Paper": papers(row),
        "Difference": difference(row),
    }
    return tuple(cells[name] for name in row_header(table))


def votes_cells(table: Table) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """pass@2 by the number of variants that vote: header and a line per row that has a curve."""
    counts = sorted({votes for curve in table.vote_curves for votes in curve.votes})
    lines = []
    for curve in table.vote_curves:
        by_votes = dict(zip(curve.votes, curve.pass_at[2], strict=True))
        cells = [percent(by_votes[votes]) if votes in by_votes else NOTHING for votes in counts]
        lines.append((curve.row, *cells))
    return ("Row", *(f"{votes:,}" for votes in counts)), lines


VOTES_TITLE = "Accuracy against the number of votes"
ONE_CHECKPOINT = (
    "Of a run's last checkpoint alone, mean over seeds; votes pooled over checkpoints are never in these numbers."
)
VOTES_CAPTION = (
    "pass@2 in % where only the first so many variants of each task vote; the last column is all of them."
    f" {ONE_CHECKPOINT}"
)


# --- Markdown -------------------------------------------------------------------------------------------------------


def markdown(table: Table) -> str:
    """The report as GitHub Markdown: warnings, the paper's layout, every row, notes, what was run."""
    parts = [
        f"# {markdown_text(table.study.title)}",
        f"{markdown_text(table.study.source)}. Profile `{table.profile}`.",
    ]
    parts += [f"> **{markdown_text(_sentence(warning))}**" for warning in table.warnings]
    laid_out = sheet(table)
    losses = table.study.layout == "losses"
    parts.append(markdown_text(losses_caption(table) if losses else caption(table)))
    if laid_out is not None:
        parts.append(markdown_table(laid_out.header, laid_out.lines, text_columns=laid_out.text_columns))
    quoted = [markdown_table(*quotes(table), text_columns=1)] if table.quoted else []
    if laid_out is not None:
        parts += quoted + ["## Every row"] + ([markdown_text(caption(table))] if losses else [])
    parts.append(markdown_table(row_header(table), [row_cells(table, row) for row in table.rows], text_columns=1))
    parts += quoted if laid_out is None else []
    notes = footnotes(table)
    if notes:
        parts.append("\n".join(f"- {markdown_text(note)}" for note in notes))
    if table.vote_curves:
        parts += [
            f"## {VOTES_TITLE}",
            markdown_text(VOTES_CAPTION),
            markdown_table(*votes_cells(table), text_columns=1),
        ]
    parts.append("## What was run")
    parts.append("\n".join(f"- {name}: {markdown_text(text)}" for name, text in table.facts))
    return plain("\n\n".join(parts) + "\n")


def markdown_table(
    header: Sequence[str], lines: Iterable[Sequence[str]], *, text_columns: int, is_markdown: bool = False
) -> str:
    """A pipe table, padded so that it also reads as plain text; numbers to the right.

    is_markdown: whether the cells are Markdown already, else they are text.
    """
    cells = [[cell if is_markdown else markdown_text(cell) for cell in line] for line in (header, *lines)]
    widths = [max(3, *(len(line[column]) for line in cells)) for column in range(len(header))]

    def line_of(line: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if column < text_columns else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        return f"| {' | '.join(padded)} |"

    rule = "|".join(
        "-" * (width + 2) if c < text_columns else "-" * (width + 1) + ":" for c, width in enumerate(widths)
    )
    return "\n".join([line_of(cells[0]), f"|{rule}|", *(line_of(line) for line in cells[1:])])


def markdown_text(text: str) -> str:
    """Text that Markdown prints as it stands; an underscore inside a word needs no escape."""
    text = re.sub(r"([\\`*\[\]|<])", r"\\\1", " ".join(text.split()))
    text = re.sub(r"\\\[([−+\d., ]+)\\\]", r"[\1]", text)  # an interval is no link
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


# --- CSV ------------------------------------------------------------------------------------------------------------


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
            "seed_interval_t95_low",
            "seed_interval_t95_high",
            "test_puzzles",
            "test_set_wilson95_low",
            "test_set_wilson95_high",
            "cell_accuracy_mean",
            *(["shortest_path_accuracy_mean"] if table.has_shortest_paths else []),
            "paper_accuracy",
            "difference_to_paper",
            *([f"loss_{of}_{what}" for of in ("ours", "source") for what in LOSS_NUMBERS] if losses else []),
            "status",
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
    return [stats.mean(values) for values in _loss_columns(known)]


def quoted_csv(table: Table) -> str:
    """What the paper quotes, a line per number; a file of its own, so that it never meets ours."""
    header = ["study", "source", "quoted", "column", "accuracy"]
    lines = [
        [table.study.name, table.study.source, one.name, column, round(value / 100, 6)]
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


def runs_csv(table: Table) -> str:
    """One line per seed: the run behind each number, and where MLflow keeps it."""
    header = [
        "study",
        "profile",
        "row",
        "seed",
        "key",
        "mlflow_run_id",
        "status",
        "accuracy",
        "test_puzzles",
        "test_set_wilson95_low",
        "test_set_wilson95_high",
        "cell_accuracy",
        "started_utc",
        "ended_utc",
        "seconds",
        "reason",
    ]
    more: dict[str, Callable[[SeedRun], object]] = {}
    if table.draws:
        more["data_seed"] = lambda run: run.data_seed
    if table.has_shortest_paths:
        more["shortest_path_accuracy"] = lambda run: run.shortest_path
    if table.voters:
        more["votes"] = lambda run: run.votes
    if table.leak:
        more["leaked_test_tasks"] = lambda run: " ".join(run.leaks)
    lines = [
        [table.study.name, table.profile, row.name, *_run_line(run), *(of(run) for of in more.values())]
        for row in table.rows
        for run in row.runs
    ]
    return csv_text([*header, *more], lines)


def _run_line(run: SeedRun) -> list[object]:
    ended = None if run.ended is None else run.ended.isoformat()
    head = [run.seed, run.key, run.run_id, run.status, run.accuracy, run.puzzles]
    return [*head, *_ends(run.interval), run.cell_accuracy, run.started.isoformat(), ended, run.seconds, run.reason]


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (interval.low, interval.high)


# --- LaTeX ----------------------------------------------------------------------------------------------------------

_TEX_CHARACTERS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "−": r"$-$",
    "–": "--",
    "…": r"\ldots{}",
    DAGGER: r"\textsuperscript{\dag}",
}


def latex(table: Table) -> str:
    """The report's tables for \\input{table.tex}: booktabs, the paper's layout first where there is one."""
    warning = "".join(f" \\textbf{{{tex(_sentence(text))}}}" for text in table.warnings)
    title = tex(f"{table.study.title} ({table.study.source}), profile {table.profile}.")
    notes = " ".join(tex(note) for note in footnotes(table))
    losses = table.study.layout == "losses"
    name = f"tab:{re.sub('[^A-Za-z0-9_-]+', '-', table.study.name)}"
    lines = [
        f"% {one_line(heading(table))}",
        *(f"% {one_line(_sentence(text))}" for text in table.warnings),
        r"% Needs \usepackage[T1]{fontenc}, \usepackage{textcomp}, \usepackage{booktabs}, \usepackage{graphicx}.",
    ]
    laid_out = sheet(table)
    if laid_out is not None:
        about = losses_caption(table) if losses else caption(table)
        lines += [*_tex_float(f"{title}{warning} {tex(about)}", _tex_sheet(laid_out), notes, name), ""]
    every_row = caption(table) if laid_out is None else f"Every row. {caption(table)}" if losses else "Every row."
    rows = [
        "l" + "r" * (len(row_header(table)) - 1),
        " & ".join(_tex_head(name) for name in row_header(table)),
        r"\midrule",
        *(" & ".join(tex(cell) for cell in row_cells(table, row)) for row in table.rows),
    ]
    lines += _tex_float(
        f"{title}{warning} {tex(every_row)}",
        rows,
        "" if laid_out is not None else notes,
        name if laid_out is None else f"{name}-rows",
    )
    if table.quoted and not quotes_fit(table):
        lines += ["", *_tex_float(f"{title} {tex(QUOTED)}.", _tex_plain(*quotes(table)), "", f"{name}-quoted")]
    if table.vote_curves:
        about = tex(f"{VOTES_TITLE}. {VOTES_CAPTION}")
        lines += ["", *_tex_float(f"{title}{warning} {about}", _tex_plain(*votes_cells(table)), "", f"{name}-votes")]
    return plain("\n".join(lines) + "\n")


def _tex_plain(header: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    return [
        "l" + "r" * (len(header) - 1),
        " & ".join(tex(name) for name in header),
        r"\midrule",
        *(" & ".join(tex(cell) for cell in line) for line in lines),
    ]


def _tex_sheet(laid_out: Sheet) -> list[str]:
    names = [
        f"${label}$" if len(label) == 1 and label.isascii() and label.isalpha() else tex(label)
        for label in laid_out.labels
    ]
    groups, rules, first = [], [], len(laid_out.labels) + 1
    for name, whats in laid_out.groups:
        groups.append(f"\\multicolumn{{{len(whats)}}}{{c}}{{{tex(name)}}}")
        rules.append(f"\\cmidrule(lr){{{first}-{first + len(whats) - 1}}}")
        first += len(whats)
    columns = [tex(what.capitalize()) for _, whats in laid_out.groups for what in whats]
    align = "l" if laid_out.text_columns else "r"
    body = [
        align * len(laid_out.labels) + "r" * len(columns),
        " & ".join([""] * (len(laid_out.labels) - 1) + ["", *groups]) + r" \\ " + " ".join(rules),
        " & ".join(names + columns),
        r"\midrule",
        *(" & ".join(tex(cell) for cell in line) for line in laid_out.lines),
    ]
    if laid_out.quoted:
        body += [r"\midrule", f"\\multicolumn{{{first - 1}}}{{@{{}}l}}{{\\emph{{{tex(QUOTED)}}}}}"]
        body += [" & ".join(tex(cell) for cell in line) for line in laid_out.quoted]
    return body


def _tex_float(text: str, rows: Sequence[str], notes: str, label: str) -> list[str]:
    columns, *body = rows
    lines = [
        r"\begin{table}",
        r"  \centering",
        r"  \small\setlength{\tabcolsep}{4pt}\setlength{\belowcaptionskip}{4pt}",
        f"  \\caption{{{text}}}",
        f"  \\label{{{label}}}",
        r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",  # smaller, where the page is too narrow
        f"  \\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        r"    \toprule",
    ]
    lines += [
        f"    {line}" if line.startswith("\\midrule") or "\\cmidrule" in line else f"    {line} \\\\" for line in body
    ]
    lines += [r"    \bottomrule", r"  \end{tabular}}"]
    if notes:
        lines.append(f"  \\par\\smallskip\\begin{{minipage}}{{\\linewidth}}\\footnotesize {notes}\\end{{minipage}}")
    return [*lines, r"\end{table}"]


def _tex_head(name: str) -> str:
    return tex(name) + (r" \%" if name in ("Ours", "Cells right", A_SHORTEST_PATH, "Paper") else "")


def tex(text: str) -> str:
    """Text that pdfLaTeX prints as it stands; what its fonts lack becomes a question mark."""
    printable = (character for character in " ".join(text.split()) if character.isprintable())
    return "".join(_TEX_CHARACTERS.get(c, c if ord(c) < 0x180 else "?") for c in printable)


# --- terminal -------------------------------------------------------------------------------------------------------


def terminal(table: Table, width: int | None = None) -> str:
    """The table as plain text of at most `width` columns; None: the terminal's."""
    width = screen.width() if width is None else width
    losses = table.study.layout == "losses"
    laid_out = sheet(table)
    parts = [heading(table), *(_sentence(warning) for warning in table.warnings)]
    above = [prose(part, width) for part in parts]
    shown = [_terminal_rows(table, width) if laid_out is None else _terminal_sheet(table, laid_out, width)]
    if table.quoted and not quotes_fit(table):
        shown.append(lay_out(*quotes(table), width=width))
    under = [losses_caption(table) if losses else caption(table)]
    if table.has_shortest_paths and not losses:
        found = (f"{row.name} {percent(row.shortest_path)}" for row in table.rows if row.shortest_path is not None)
        under.append(f"{A_SHORTEST_PATH}, in % of the mazes: {'; '.join(found)}.")
    under += footnotes(table)
    return plain("\n\n".join(["\n".join(above), *shown, "\n".join(prose(part, width) for part in under)]) + "\n")


def _terminal_sheet(table: Table, laid_out: Sheet, width: int) -> str:
    """The paper's layout; under each of our numbers its spread over seeds (losses) or the test set's interval."""
    lines: list[Line] = []
    for at, line in enumerate(laid_out.lines):
        stacked = list(line)
        if table.study.layout == "losses":
            stacked = [cell.replace(" ± ", "\n± ") for cell in line]
        elif table.grid is not None:
            for position, row in enumerate(table.grid.lines[at][1]):
                if row is not None and row.test_interval is not None:
                    stacked[len(laid_out.labels) + 3 * position + 2] += f"\n{bracket(row.test_interval)}"
        lines.append(stacked)
    if laid_out.quoted:
        lines += [None, f"{QUOTED}:", *laid_out.quoted]
    return lay_out(
        [*laid_out.labels, *(what for _, whats in laid_out.groups for what in whats)],
        lines,
        width=width,
        labels=len(laid_out.labels),
        text_columns=laid_out.text_columns,
        groups=[(name, len(whats)) for name, whats in laid_out.groups],
    )


def _terminal_rows(table: Table, width: int) -> str:
    seeds = common_seeds(table)
    cell: dict[str, Callable[[TableRow], str]] = {
        "Row": lambda row: one_line(row.name),
        "Depth": depth,
        "NFP": lambda row: number(row.nfp),
        "Parameters": lambda row: number(row.parameters),
        "Paper": papers,
        "Ours": lambda row: ours(row, seeds),
        "Test set": lambda row: bracket(row.test_interval),
    }
    if not table.study.has_paper_numbers:
        del cell["Paper"]
    if passes(table.study.metric) is not None:
        del cell["Test set"]
    lines = [[of(row) for of in cell.values()] for row in table.rows]
    return lay_out([*cell], lines, width=width, groups=[("", len(cell) - 1)])
