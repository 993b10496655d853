"""A study's tables as LaTeX to go into a paper: bare tabulars for \\input, with booktabs and siunitx."""

from __future__ import annotations

import re

from reports import words
from reports.collect import Table
from reports.plain import one_line, plain
from reports.table import Cell, Sheet
from reports.tables import rows
from reports.tables.laid_out import sheet
from reports.tables.quoted import quotes
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

NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


def latex(table: Table) -> dict[str, str]:
    """Files: table.tex as the paper prints it, rows.tex with every row, and those of claims, checkpoints and votes.

    What has to be said of the numbers stands above each as comments, to be made its caption.
    """
    found = {"table.tex": (words.about(table), sheet(table)), "rows.tex": (words.caption(table), rows.every_row(table))}
    if (apart := quotes(table)) is not None:
        found["quoted.tex"] = (words.QUOTED, apart)
    if table.claims:
        found["claims.tex"] = (words.claims_caption(table), rows.claims(table))
    if table.selected:
        found["checkpoints.tex"] = (words.CHECKPOINTS_CAPTION, rows.checkpoints(table))
    if table.vote_curves:
        found["votes.tex"] = (words.VOTES_CAPTION, rows.votes(table))
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
    ]
    return [*(f"% {one_line(comment)}" for comment in comments), *tabular(of)]


def tabular(of: Sheet) -> list[str]:
    """The tabular's lines. A column of plain numbers is siunitx's S, aligned at its point; labels stand left."""
    n_columns, labels = len(of.columns), len(of.labels)
    kinds = [_column(of, column) for column in range(n_columns)]
    head = []
    if any(name for name, _ in of.groups):
        spans, rules, first = [], [], labels + 1
        for name, whats in of.groups:
            spans.append(f"\\multicolumn{{{len(whats)}}}{{c}}{{{tex(name)}}}")
            rules += [f"\\cmidrule(lr){{{first}-{first + len(whats) - 1}}}"] if name else []
            first += len(whats)
        head.append(" & ".join([*[""] * labels, *spans]).strip() + r" \\ " + " ".join(rules))
    names = [f"{{{_name(name, column >= labels)}}}" for column, name in enumerate(of.columns)]
    head.append(" & ".join(names) + r" \\")
    body = []
    for part in of.parts:
        body.append(r"\midrule")
        if part.title:
            body.append(f"\\multicolumn{{{n_columns}}}{{@{{}}l}}{{\\emph{{{tex(part.title)}}}}} \\\\")
        for line in part.lines:
            shown = (_cell(cell, is_number=kind[0] == "S") for cell, kind in zip(line, kinds, strict=True))
            body.append(" & ".join(shown) + r" \\")
    lines = [r"\toprule", *head, *body, r"\bottomrule"]
    return [f"\\begin{{tabular}}{{@{{}}{''.join(kinds)}@{{}}}}", *(f"  {line}" for line in lines), r"\end{tabular}"]


def _column(of: Sheet, column: int) -> str:
    """S where all its cells but words are plain numbers, with as many digits as they have; else l or r."""
    texts = [line[column] for line in of.lines]
    numbers = [cell.text for cell in texts if NUMBER.fullmatch(cell.text)]
    if column < of.text_columns:
        return "l"
    if not numbers or any(cell.mark or cell.is_best or "±" in cell.text or "," in cell.text for cell in texts):
        return "r"
    wholes, points = zip(*(number.partition(".")[::2] for number in numbers), strict=True)
    return f"S[table-format={max(map(len, wholes))}.{max(map(len, points))}]"


def _name(name: str, is_column: bool) -> str:
    if len(name) == 1 and name.isascii() and name.isalpha():
        return f"${name}$"
    return tex(name[:1].upper() + name[1:] if is_column else name)


def _cell(cell: Cell, *, is_number: bool) -> str:
    if is_number:  # what is no number stands in braces, or siunitx tries to read it
        return cell.text if NUMBER.fullmatch(cell.text) else f"{{{tex(cell.text)}}}" if cell.text else ""
    text = tex(cell.text)
    if cell.is_best:
        text = r"\textbf{\boldmath " + text + "}"
    return f"{text} {tex(cell.mark)}" if cell.mark else text


def tex(text: str) -> str:
    """Text that pdfLaTeX prints as it stands; what its fonts lack becomes a question mark."""
    printable = (character for character in " ".join(text.split()) if character.isprintable())
    return "".join(_TEX_CHARACTERS.get(c, c if ord(c) < 0x180 else "?") for c in printable)
