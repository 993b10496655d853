"""What TeX would refuse or print otherwise in a table of ours, found without TeX: for machines that have none."""

from __future__ import annotations

import re

COMMANDS = {
    *("begin", "end", "toprule", "midrule", "bottomrule", "cmidrule", "multicolumn", "emph", "textbf", "bfseries"),
    *("raggedright", "arraybackslash", "linewidth", "pm", "times", "cdot", "ldots", "approx", "uparrow", "downarrow"),
    *("dag", "textsuperscript", "textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater"),
    *("textbar", "textquotedbl", "textquotesingle", "textasciigrave"),
}
NUMBER = r"[-+]?[0-9]+(\.[0-9]+)?(e-?[0-9]+)?"


def faults(text: str) -> list[str]:
    """What is wrong with a file of LaTeX that is made of comments and tabulars; nothing where it is sound."""
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    found = [f"not for pdfLaTeX's fonts: {c!r}" for line in lines for c in line if ord(c) >= 0x180]
    found += [f"unescaped %: {line}" for line in lines if re.search(r"(?<!\\)%", line)]
    body = re.sub(r"\\[#&%_{}$]", "", "\n".join(lines))
    found += [f"\\{name}" for name in re.findall(r"\\([A-Za-z]+)", body) if name not in COMMANDS]
    found += [f"unescaped {c}" for c in "#_^~" if c in body]
    found += ["dollars do not come in pairs"] if body.count("$") % 2 else []
    found += _balance(body)
    for preamble, table in re.findall(r"\\begin\{tabular\}\{([^\n]*)\}\n(.*?)\\end\{tabular\}", body, flags=re.DOTALL):
        found += _columns(kinds(preamble), table)
    return found


def _balance(body: str) -> list[str]:
    opened: list[str] = []
    for kind, name, brace in re.findall(r"\\(begin|end)\{(\w+)\}|([{}])", body):
        if kind == "begin" or brace == "{":
            opened.append(name or brace)
        elif not opened or opened.pop() != (name or "{"):
            return [f"{name or brace} closes nothing"]
    return [f"{name} is never closed" for name in opened]


def kinds(preamble: str) -> list[str]:
    """The columns that a tabular's preamble declares: l, c, r, p or S."""
    bare = re.sub(r"[@>]\{[^{}]*\}", "", preamble)
    return re.findall(r"[lcrpS]", re.sub(r"\[(?:[^\]{}]|\{[^}]*\})*\]|\{[^{}]*\}", "", bare))


def _columns(columns: list[str], table: str) -> list[str]:
    found = []
    for line in filter(None, map(str.strip, table.splitlines())):
        if re.fullmatch(r"\\(top|mid|bottom)rule", line):
            continue
        cells, end, rules = line.rpartition(r"\\")
        if not end or re.sub(r" ?\\cmidrule\(lr\)\{[0-9]+-[0-9]+\}", "", rules):
            found.append(f"no line of a table: {line}")
        at = 0
        for cell in cells.split("&"):
            text, spanned = cell.strip(), re.match(r" *\\multicolumn\{(\d+)\}\{(?:@\{\})?[lcr]\}\{", cell)
            if (
                not spanned
                and columns[at : at + 1] == ["S"]
                and not re.fullmatch(rf"(\\bfseries )?{NUMBER}|\{{.*\}}|", text)
            ):
                found.append(f"no number for siunitx: {text}")
            at += int(spanned[1]) if spanned else 1
        if at != len(columns):
            found.append(f"{at} cells in {len(columns)} columns: {line}")
    return found
