"""A study's tables as LaTeX to go into a paper: bare tabulars for \\input, with booktabs and siunitx."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reports import words
from reports.plain import one_line, plain
from reports.table import Cell, Sheet
from reports.tables import rows
from reports.tables.below import below
from reports.tables.laid_out import sheet
from reports.tables.quoted import quotes
from reports.types import Table
from reports.words import DAGGER

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
    "≈": r"$\approx$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    DAGGER: r"\textsuperscript{\dag}",
}

NUMBER = re.compile(  # "5,028,866", "71.0 ± 12.7 (3)", "+3.2", "1.20e+14", "6†"
    r"(?P<mean>[-+−]?[0-9][0-9,]*(\.[0-9]+)?(e[-+]?[0-9]+)?)( ± (?P<half>[0-9]+(\.[0-9]+)?))?"
    rf"(?P<behind> \([0-9]+\)|{DAGGER})?"
)
UNIT = re.compile(r"[0-9.]+[kMBT](/[0-9.]+[kMBT])*")  # "5M/19M": a column of counts as the paper prints them
AMOUNT = re.compile(r"[-+−]?[0-9]")
LONGEST = 36  # characters of a cell of words; a column of longer ones breaks its lines

LINE_PT = 345  # of an article's text at 10 pt
CHARACTER_PT, GAP_PT = 4.9, 12.0
WIDE = "Wider than a column of text: for a table* of two columns, or a landscape page (pdflscape)."


@dataclass(frozen=True)
class _Column:
    """A column of a sheet as columns of a tabular: words in l or r; a number in S, what is behind ±, and a mark."""

    kind: str  # of the first: "l", "r", "p{…}" or "S[…]"
    half: str = ""  # "S[…]" where numbers have an interval
    behind: bool = False  # whether a mark or a number of seeds stands behind some number

    @property
    def is_number(self) -> bool:
        return self.kind[0] == "S"

    @property
    def width(self) -> int:
        """How many columns of the tabular it is."""
        return 1 + 2 * bool(self.half) + self.behind

    @property
    def preamble(self) -> str:
        half = rf"@{{\,}}c@{{\,}}{self.half}" if self.half else ""
        return self.kind + half + (r"@{\,}l" if self.behind else "")


def latex(table: Table) -> dict[str, str]:
    """Files: table.tex as the paper prints it, rows.tex with every row, claims.tex, and those of tables.below.

    What has to be said of the numbers stands above each as comments, to be made its caption.
    """
    found = {
        "table.tex": (words.about(table), sheet(table)),
        "rows.tex": (words.caption(table), rows.every_row(table, reasons=False)),
    }
    if (apart := quotes(table)) is not None:
        found["quoted.tex"] = (words.QUOTED, apart)
    if table.claims:
        found["claims.tex"] = (words.claims_caption(table), rows.claims(table))
    found |= {f"{one.name}.tex": (one.caption, one.sheet) for one in below(table)}
    notes = words.other_depths(table) + ((table.study.note,) if table.study.note else ())  # no logs of runs
    return {
        name: plain("\n".join(_file(table, said, of, notes if name == "table.tex" else ())) + "\n")
        for name, (said, of) in found.items()
    }


def _file(table: Table, said: str, of: Sheet, notes: tuple[str, ...]) -> list[str]:
    comments = [
        words.heading(table),
        *map(words.sentence, table.warnings),
        said,
        *notes,
        r"Needs \usepackage[T1]{fontenc}, \usepackage{textcomp}, \usepackage{booktabs}, \usepackage{siunitx}.",
        *([WIDE] if _width_pt(of) > LINE_PT else []),
    ]
    return [*(f"% {one_line(comment)}" for comment in comments), *tabular(of)]


def _width_pt(of: Sheet) -> float:
    """About how wide it is at 10 pt: its longest cells, and what stands between two columns."""
    columns = zip(of.columns, zip(*of.lines, strict=True), strict=True)
    if of.text_columns > 1:
        return 0  # of words, which break their lines
    longest = (max(len(name), *(len(cell.marked) for cell in cells)) for name, cells in columns)
    return sum(CHARACTER_PT * length + GAP_PT for length in longest)


def tabular(of: Sheet) -> list[str]:
    """The tabular's lines. A column of numbers is siunitx's S, aligned at the point; labels stand left."""
    columns = [_column(of, at) for at in range(len(of.columns))]
    n_labels, n_columns = len(of.labels), sum(column.width for column in columns)
    head = []
    if any(name for name, _ in of.groups):
        spans, rules, at = [], [], n_labels
        first = 1 + sum(column.width for column in columns[:n_labels])
        for name, whats in of.groups:
            width = sum(column.width for column in columns[at : at + len(whats)])
            spans.append(f"\\multicolumn{{{width}}}{{c}}{{{tex(name)}}}")
            rules += [f"\\cmidrule(lr){{{first}-{first + width - 1}}}"] if name else []
            at, first = at + len(whats), first + width
        labels = [""] * (first - 1 - sum(column.width for column in columns[n_labels:]))
        head.append(" & ".join([*labels, *spans]).strip() + r" \\ " + " ".join(rules))
    names = (_name(name, at >= n_labels) for at, name in enumerate(of.columns))
    head.append(_line(_across(column, name) for column, name in zip(columns, names, strict=True)))
    body = []
    for part in of.parts:
        body.append(r"\midrule")
        if part.title:
            body.append(f"\\multicolumn{{{n_columns}}}{{@{{}}l}}{{\\emph{{{tex(part.title)}}}}} \\\\")
        body += [_line(_cell(cell, column) for cell, column in zip(line, columns, strict=True)) for line in part.lines]
    lines = [r"\toprule", *head, *body, r"\bottomrule"]
    preamble = "".join(column.preamble for column in columns)
    return [f"\\begin{{tabular}}{{@{{}}{preamble}@{{}}}}", *(f"  {line}" for line in lines), r"\end{tabular}"]


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _column(of: Sheet, at: int) -> _Column:
    """S where its cells, but for words, are numbers, with as many digits as they have; else l or r."""
    cells = [line[at] for line in of.lines]
    if of.is_text(at):
        too_long = of.text_columns > 1 and any(len(cell.text) > LONGEST for cell in cells)
        return _Column(
            rf">{{\raggedright\arraybackslash}}p{{{0.9 / of.text_columns:.2f}\linewidth}}" if too_long else "l"
        )
    numbers = [(cell, number) for cell in cells if (number := NUMBER.fullmatch(cell.text))]
    if not numbers or any(UNIT.fullmatch(cell.text) for cell in cells):
        return _Column("r" if any(AMOUNT.match(cell.text) for cell in cells) else "l")
    is_bold = any(cell.is_best for cell, _ in numbers)
    halves = [_digits(number["half"]) for _, number in numbers if number["half"]]
    return _Column(
        _s([_digits(number["mean"]) for _, number in numbers], is_bold),
        _s(halves, is_bold) if halves else "",
        any(cell.mark or number["behind"] for cell, number in numbers),
    )


def _digits(number: str) -> str:
    """A number as siunitx takes it."""
    return number.replace("−", "-").replace(",", "").replace("e+", "e")


def _s(numbers: Sequence[str], is_bold: bool) -> str:
    """The column with room for these numbers."""
    mantissas, exponents = zip(
        *((mantissa, exponent) for mantissa, _, exponent in (one.partition("e") for one in numbers)), strict=True
    )
    wholes, points = zip(*(mantissa.lstrip("+-").partition(".")[::2] for mantissa in mantissas), strict=True)
    sign = "+" if any(one[0] == "+" for one in numbers) else "-" if any(one[0] == "-" for one in numbers) else ""
    form = f"{sign}{max(map(len, wholes))}.{max(map(len, points))}"
    form += f"e{max(map(len, exponents))}" if any(exponents) else ""
    options = [f"table-format={form}"]
    options += ["group-minimum-digits=4", "group-separator={,}"] if max(map(len, wholes)) > 3 else []
    options += ["retain-explicit-plus=true"] if sign == "+" else []
    options += ["detect-weight=true"] if is_bold else []
    return f"S[{','.join(options)}]"


def _name(name: str, is_column: bool) -> str:
    if len(name) == 1 and name.isascii() and name.isalpha():
        return f"${name}$"
    return tex(name[:1].upper() + name[1:] if is_column else name)


def _across(column: _Column, text: str) -> str:
    """Words over all that the column is made of."""
    if column.width > 1:
        return f"\\multicolumn{{{column.width}}}{{c}}{{{text}}}"
    return f"{{{text}}}" if text else ""


def _cell(cell: Cell, column: _Column) -> str:
    if not column.is_number:
        return f"\\textbf{{{tex(cell.text)}}}" if cell.is_best else tex(cell.text)
    number = NUMBER.fullmatch(cell.text)
    if number is None:  # siunitx would try to read it
        return _across(column, tex(cell.text))
    bold = r"\bfseries " if cell.is_best else ""
    found = [bold + _digits(number["mean"])]
    if column.half:
        found += [r"$\pm$", bold + number["half"]] if number["half"] else ["", ""]
    if column.behind:
        found.append(tex(f"{cell.mark}{number['behind'] or ''}"))
    return " & ".join(found)


def tex(text: str) -> str:
    """Text that pdfLaTeX prints as it stands; what its fonts lack becomes a question mark."""
    printable = (character for character in " ".join(text.split()) if character.isprintable())
    return "".join(_TEX_CHARACTERS.get(c, c if ord(c) < 0x180 else "?") for c in printable)
