"""Whether committed tables are what the store gives now: the report is made in a temporary folder, and compared."""

from __future__ import annotations

import csv
import difflib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from data_prep.files import check_regular
from reports.everything import One, Reader, look
from reports.index import rows_lacking
from reports.plain import one_line
from reports.report import Report, write_gathered
from sweeps.screen import paragraph
from trm_core.command_line import refuse

TABLES = (".csv", ".md", ".tex")  # what is compared; of figures and pages their numbers stand in these
DIFFERS = 1  # the exit code
SHOWN = 60  # characters of a cell, or of a line
LINES = 5  # said of a file, before "and N more"


def check(folder: Path, out: Path, profile: str | None = None) -> int:
    """Compare; a line for each file and row that differs, for each row that was asked for and has no number, for each
    table that is not there, and for each that the store knows nothing of. Writes nothing.

    out: where the runs' own files lie. Returns 0 where all is equal, 1 where it is not, 2 where MLflow went away.
    Raises NoSuchCampaign, TrackingUnavailable.
    """
    there = look(out, profile)
    reader, compared = Reader(out, keeps=False), set[Path]()
    found = list(there.said)
    for one in reader.read(there):
        if one.campaign is None or (one.gathered is None and one.recorded is None):
            found += one.said
        if one.gathered is None or one.campaign is None:
            continue
        committed = one.campaign.folder(folder)
        compared.add(committed)
        found += _of_campaign(one, committed, folder)
    if reader.gone is not None:
        return refuse(f"{reader.gone}; not all was compared")
    found += _strangers(folder, compared, profile)
    for line in found:
        print(paragraph(one_line(line)))
    n = len(compared)
    tables = f"{n} campaign{'' if n == 1 else 's'} compared with {folder}"
    print(paragraph(f"{tables}: {'all is as the store gives it' if not found else f'{len(found)} differences'}"))
    return DIFFERS if found else 0


def _of_campaign(one: One, committed: Path, folder: Path) -> Iterator[str]:
    assert one.gathered is not None
    assert one.campaign is not None
    asked = {run.row for run in one.campaign.runs}
    where = committed.relative_to(folder)
    for name in rows_lacking(one.gathered.table):
        if name not in asked:  # `--only` left it out: the committed table says so too
            continue
        status = next(row.status for row in one.gathered.table.rows if row.name == name)
        yield f"{where}: row {name!r} has no number: {status}"
    if not one.gathered.recorded.runs:
        return
    tables = {path.name for path in committed.glob("*") if path.suffix in TABLES}
    if not tables:
        yield f"{where}: no table is there; `python -m reports all --out {folder}` writes it"
        return
    with tempfile.TemporaryDirectory() as scratch:
        now = write_gathered(one.gathered, Path(scratch))
        for name in sorted(tables | {Path(each).name for each in now.files if _is_table(each)}):
            if name in tables or name in ("table.md", "table.csv"):
                yield from _of_file(where / name, committed / name, now, name)


def _is_table(name: str) -> bool:
    return "/" not in name and name.endswith(TABLES)


def _of_file(where: Path, committed: Path, now: Report, name: str) -> Iterator[str]:
    if name not in now.files:
        yield f"{where}: the store gives no such table any more"
        return
    try:
        text = check_regular(committed).read_text(encoding="utf-8")
    except FileNotFoundError:
        return  # a folder may hold some forms of a table only
    except (OSError, UnicodeDecodeError) as error:
        yield f"{where}: cannot be read: {error}"
        return
    wanted = (now.folder / name).read_text(encoding="utf-8")
    if text == wanted:
        return
    lines = list(_of_csv(text, wanted) if name.endswith(".csv") else _of_lines(text, wanted))
    for line in lines[:LINES]:
        yield f"{where}: {line}"
    if len(lines) > LINES:
        yield f"{where}: and {len(lines) - LINES:,} more rows differ"
    if not lines:
        yield f"{where}: its line ends differ"


def _of_csv(text: str, wanted: str) -> Iterator[str]:
    """Rows by their first cells, as many as tell them apart."""
    header, *before = [*csv.reader(text.splitlines())] or [[]]
    names, *after = [*csv.reader(wanted.splitlines())]
    if header != names:
        yield f"its columns are {_short(', '.join(header))}, the store gives {_short(', '.join(names))}"
        return
    keys = _keys(names, after)
    then, now = ({tuple(row[at] for at in keys if at < len(row)): row for row in rows} for rows in (before, after))
    for key in dict.fromkeys([*now, *then]):
        row = f"row {_short(', '.join(key))!r}"
        if key not in then:
            yield f"{row} is not there, the store gives it"
        elif key not in now:
            yield f"{row} is there, the store gives none"
        else:
            cells = [
                f"{column} is {_short(was) or 'empty'}, the store gives {_short(is_now) or 'nothing'}"
                for column, was, is_now in zip(names, _long(then[key], names), _long(now[key], names), strict=True)
                if was != is_now
            ]
            if cells:
                yield f"{row}: {'; '.join(cells[:2])}{'; …' if len(cells) > 2 else ''}"


def _keys(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """The columns that tell rows apart: from the left, those that are not the same in all, as many as it takes."""
    keys: list[int] = []
    for at in range(len(names)):
        if len({tuple(row[key] for key in keys) for row in rows}) == len(rows) > 1:
            break
        if len({row[at] for row in rows}) > 1:
            keys.append(at)
    return keys or [names.index("row") if "row" in names else 0]


def _long(row: list[str], names: list[str]) -> list[str]:
    return [*row, *[""] * len(names)][: len(names)]


def _of_lines(text: str, wanted: str) -> Iterator[str]:
    """Lines that differ, a table's by the name of its row."""
    before, after = text.splitlines(), wanted.splitlines()
    for what, a, b, c, d in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if what == "equal":
            continue
        for at in range(max(b - a, d - c)):
            was = before[a + at] if a + at < b else None
            now = after[c + at] if c + at < d else None
            if was is None:
                yield f"line {c + at + 1} of the store's is not there: {_short(now or '')}"
            elif now is None:
                yield f"line {a + at + 1} is there, the store gives none: {_short(was)}"
            else:
                yield f"line {a + at + 1}{_row_of(was)} is {_apart(was, now)}, the store gives {_apart(now, was)}"


def _row_of(line: str) -> str:
    """The name of the row that a line of a Markdown or LaTeX table holds."""
    cells = [cell.strip() for cell in line.strip().strip("|").replace(" & ", "|").split("|")]
    return f", row {_short(cells[0])!r}," if len(cells) > 1 and cells[0] else ""


def _apart(line: str, other: str) -> str:
    """What of a line is not in the other, from the beginning of the table's cell or of the word."""
    same = next((at for at, (one, two) in enumerate(zip(line, other, strict=False)) if one != two), len(line))
    cell = max(line.rfind(border, 0, same) for border in "|&")
    start = cell if cell >= 0 else line.rfind(" ", 0, same)
    return ("… " if start >= 0 and cell < 0 else "") + (_short(line[start + 1 :].split("|")[0]) or "empty")


def _strangers(folder: Path, compared: Iterable[Path], profile: str | None) -> Iterator[str]:
    """Committed tables of campaigns that the store has not."""
    for path in sorted(folder.glob(f"{profile or '*'}/*/**/table.md")):
        if path.parent not in compared:
            yield f"{path.relative_to(folder)}: is there, the store has no such campaign"


def _short(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
