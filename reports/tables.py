"""A Table as Markdown, CSV, LaTeX and terminal text: rendering only, every number comes from collect.

All of them print the same cells, so the words and the rounding are in one place, at the top.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from reports import paper
from reports.collect import Grid, SeedRun, Table, TableRow
from reports.stats import Interval

TERMINAL_WIDTH = 96  # columns
DAGGER = "†"
NOTHING = "–"

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
    return row.paper if isinstance(row.paper, str) else f"{row.paper:.1f}"


def difference(row: TableRow) -> str:
    """Ours minus the paper's, in points."""
    return NOTHING if row.difference is None else f"{row.difference:+.1f}".replace("-", "−")


def depth(row: TableRow) -> str:
    """The formula's depth, marked where the paper prints another."""
    return f"{row.depth}{DAGGER}" if flagged(row) else str(row.depth)


def short(text: str, length: int) -> str:
    """The text in one line, cut with an ellipsis."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def flagged(row: TableRow) -> bool:
    """Whether the paper prints another depth than its formula."""
    return row.paper_depth is not None and row.paper_depth != row.depth


def common_seeds(table: Table) -> int | None:
    """The number of seeds behind every number, where it is the same."""
    counts = {len(row.values) for row in table.rows if row.values}
    return counts.pop() if len(counts) == 1 else None


def caption(table: Table) -> str:
    """What the numbers are: metric, evaluation depth, seeds, and the two intervals apart."""
    metric = "Exact accuracy on the test puzzles" if table.study.metric == "test/exact_accuracy" else table.study.metric
    seeds = common_seeds(table)
    if seeds is None:
        over = "the number of seeds in parentheses"
    else:
        over = "one seed per row" if seeds == 1 else f"mean over {seeds} seeds"
    steps = " or ".join(str(count) for count in table.eval_steps)
    sentences = [f"{metric} in %, {over}, evaluated with {steps} supervision step{'' if steps == '1' else 's'}."]
    if any(row.seed_interval for row in table.rows):
        sentences.append("± is the 95 % interval of the mean over seeds (Student t).")
    elif any(row.values for row in table.rows):
        sentences.append("With one seed there is no interval over seeds.")
    if table.puzzles:
        counts = " or ".join(f"{count:,}" for count in table.puzzles)
        sentences.append(
            f"Brackets: the 95 % interval that {counts} test puzzles leave to one run of that accuracy (Wilson);"
            " it does not hold the spread over seeds."
        )
    return " ".join(sentences)


def footnotes(table: Table) -> tuple[str, ...]:
    """What stands under the table: the flagged depths, then the notes."""
    printed = dict.fromkeys(row.paper_depth for row in table.rows if row.paper_depth is not None and flagged(row))
    flags = (f"{DAGGER} {paper.other_depths(printed)}",) if printed else ()
    return flags + table.notes


def heading(table: Table) -> str:
    """One line: title, source, profile."""
    return f"{table.study.title}: {table.study.source}, profile {table.profile}"


def grid_cells(grid: Grid, seeds: int | None) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The paper's layout as text: header and lines (k, T, then depth, paper, ours for each model)."""
    header = grid.labels + tuple(f"{model} {what}" for model in grid.models for what in ("depth", "paper", "ours"))
    lines = []
    for labels, rows in grid.lines:
        cells = list(labels)
        for row in rows:
            cells += [NOTHING] * 3 if row is None else [depth(row), papers(row), ours(row, seeds)]
        lines.append(tuple(cells))
    return header, lines


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


def row_header(table: Table) -> tuple[str, ...]:
    """The columns of the long table: the paper's where it prints numbers, the difference where there may be one."""
    left_out = 0 if table.comparable else 1
    return ROW_HEADER[: len(ROW_HEADER) - (left_out if table.study.has_paper_numbers else 2)]


def row_cells(table: Table, row: TableRow) -> tuple[str, ...]:
    """One row of the long table as text, in the order of row_header."""
    cells = (
        row.name,
        depth(row),
        str(row.nfp),
        f"{row.parameters:,}",
        str(len(row.values)),
        short(row.status.partition(":")[0], 28) if row.mean is None else percent(row.mean),
        spread(row),
        bracket(row.test_interval),
        NOTHING if row.cell_accuracy is None else percent(row.cell_accuracy),
        papers(row),
        difference(row),
    )
    return cells[: len(row_header(table))]


# --- Markdown -------------------------------------------------------------------------------------------------------


def markdown(table: Table) -> str:
    """The report as GitHub Markdown: warning, the paper's grid, every row, notes, what was run."""
    parts = [f"# {_md(table.study.title)}", f"{_md(table.study.source)}. Profile `{table.profile}`."]
    if table.warning:
        parts.append(f"> **{_md(_sentence(table.warning))}**")
    parts.append(_md(caption(table)))
    if table.grid is not None:
        header, lines = grid_cells(table.grid, common_seeds(table))
        parts.append(_md_table(header, lines, text_columns=0))
        parts.append("## Every row")
    parts.append(_md_table(row_header(table), [row_cells(table, row) for row in table.rows], text_columns=1))
    notes = footnotes(table)
    if notes:
        parts.append("\n".join(f"- {_md(note)}" for note in notes))
    parts.append("## What was run")
    parts.append("\n".join(f"- {name}: {_md(text)}" for name, text in table.facts))
    return "\n\n".join(parts) + "\n"


def _md_table(header: Sequence[str], lines: Iterable[Sequence[str]], *, text_columns: int) -> str:
    """A pipe table, padded so that it also reads as plain text; numbers to the right."""
    cells = [[_md(cell) for cell in line] for line in (header, *lines)]
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


def _md(text: str) -> str:
    """Text that Markdown prints as it stands; an underscore inside a word needs no escape."""
    text = re.sub(r"([\\`*\[\]|<])", r"\\\1", " ".join(text.split()))
    text = re.sub(r"\\\[([−\d., ]+)\\\]", r"[\1]", text)  # an interval is no link
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


# --- CSV ------------------------------------------------------------------------------------------------------------


def rows_csv(table: Table) -> str:
    """One line per row, every number in full precision, accuracies as fractions."""
    places = tuple(dict.fromkeys(name for row in table.rows for name in row.place))
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
            "paper_accuracy",
            "difference_to_paper",
            "status",
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
            round(row.paper / 100, 6) if isinstance(row.paper, float) else row.paper,
            None if row.difference is None else round(row.difference / 100, 15),
            row.status or "finished",
        ]
        for row in table.rows
    ]
    return _csv(header, lines)


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
    lines = [[table.study.name, table.profile, row.name, *_run_line(run)] for row in table.rows for run in row.runs]
    return _csv(header, lines)


def _run_line(run: SeedRun) -> list[object]:
    ended = None if run.ended is None else run.ended.isoformat()
    head = [run.seed, run.key, run.run_id, run.status, run.accuracy, run.puzzles]
    return [*head, *_ends(run.interval), run.cell_accuracy, run.started.isoformat(), ended, run.seconds, run.reason]


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (interval.low, interval.high)


def _csv(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return out.getvalue()


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
    """The report's tables for \\input{table.tex}: booktabs, the paper's grid first where there is one."""
    warning = f" \\textbf{{{tex(_sentence(table.warning))}}}" if table.warning else ""
    title = tex(f"{table.study.title} ({table.study.source}), profile {table.profile}.")
    notes = " ".join(tex(note) for note in footnotes(table))
    lines = [
        f"% {heading(table)}",
        *([f"% {_sentence(table.warning)}"] if table.warning else []),
        r"% Needs \usepackage[T1]{fontenc}, \usepackage{textcomp}, \usepackage{booktabs}, \usepackage{graphicx}.",
    ]
    seeds = common_seeds(table)
    if table.grid is not None:
        lines += _tex_float(
            f"{title}{warning} {tex(caption(table))}",
            _tex_grid(table.grid, seeds),
            notes,
            f"tab:{table.study.name}",
        )
        lines.append("")
    rows = [
        "l" + "r" * (len(row_header(table)) - 1),
        " & ".join(_tex_head(name) for name in row_header(table)),
        r"\midrule",
        *(" & ".join(tex(cell) for cell in row_cells(table, row)) for row in table.rows),
    ]
    lines += _tex_float(
        f"{title}{warning} {'Every row.' if table.grid is not None else tex(caption(table))}",
        rows,
        "" if table.grid is not None else notes,
        f"tab:{table.study.name}{'-rows' if table.grid is not None else ''}",
    )
    return "\n".join(lines) + "\n"


def _tex_grid(grid: Grid, seeds: int | None) -> list[str]:
    first = len(grid.labels) + 1
    groups = [f"\\multicolumn{{3}}{{c}}{{{tex(model)}}}" for model in grid.models]
    rules = [f"\\cmidrule(lr){{{first + 3 * i}-{first + 3 * i + 2}}}" for i in range(len(grid.models))]
    names = [f"${label}$" if len(label) == 1 and label.isalpha() else tex(label) for label in grid.labels]
    _, lines = grid_cells(grid, seeds)
    return [
        "r" * len(grid.labels) + "rrr" * len(grid.models),
        " & ".join([""] * (len(grid.labels) - 1) + ["", *groups]) + r" \\ " + " ".join(rules),
        " & ".join(names + ["Depth", "Paper", "Ours"] * len(grid.models)),
        r"\midrule",
        *(" & ".join(tex(cell) for cell in line) for line in lines),
    ]


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
    return tex(name) + (r" \%" if name in ("Ours", "Cells right", "Paper") else "")


def tex(text: str) -> str:
    """Text that pdfLaTeX prints as it stands; what its fonts lack becomes a question mark."""
    printable = (character for character in " ".join(text.split()) if character.isprintable())
    return "".join(_TEX_CHARACTERS.get(c, c if ord(c) < 0x180 else "?") for c in printable)


# --- terminal -------------------------------------------------------------------------------------------------------


def terminal(table: Table, width: int = TERMINAL_WIDTH) -> str:
    """The table as plain text of at most `width` columns."""
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, force_terminal=False, markup=False, highlight=False)
    console.print(Text(heading(table)))
    if table.warning:
        console.print(Text(_sentence(table.warning)))
    console.print(_terminal_rows(table) if table.grid is None else _terminal_grid(table.grid, common_seeds(table)))
    console.print(Text(caption(table)))
    for note in footnotes(table):
        console.print(Text(note))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _terminal_grid(grid: Grid, seeds: int | None) -> RichTable:
    """The paper's grid; under each of our numbers the test set's interval."""
    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in grid_cells(grid, seeds)[0]:
        shown.add_column(Text(name.replace(" ", "\n")), justify="right", vertical="top")
    for (_, rows), cells in zip(grid.lines, grid_cells(grid, seeds)[1], strict=True):
        stacked = list(cells)
        for position, row in enumerate(rows):
            if row is not None and row.test_interval is not None:
                stacked[len(grid.labels) + 3 * position + 2] += f"\n{bracket(row.test_interval)}"
        shown.add_row(*(Text(cell) for cell in stacked))
    return shown


def _terminal_rows(table: Table) -> RichTable:
    seeds = common_seeds(table)
    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    cell: dict[str, Callable[[TableRow], str]] = {
        "Row": lambda row: row.name,
        "Depth": depth,
        "NFP": lambda row: str(row.nfp),
        "Parameters": lambda row: f"{row.parameters:,}",
        "Paper": papers,
        "Ours": lambda row: ours(row, seeds),
        "Test set": lambda row: bracket(row.test_interval),
    }
    if not table.study.has_paper_numbers:
        del cell["Paper"]
    for name in cell:
        shown.add_column(Text(name), justify="left" if name == "Row" else "right", overflow="fold")
    for row in table.rows:
        shown.add_row(*(Text(of(row)) for of in cell.values()))
    return shown
