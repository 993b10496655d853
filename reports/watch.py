"""Reports of all that there is, and an index of them: written once (`all`), or again while runs go on (`watch`)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from reports import index
from reports.choose import NoSuchCampaign, find
from reports.everything import One, Reader, There, look, no_collector
from reports.index import Entry, entry_of
from reports.plain import one_line
from reports.report import write_files, write_gathered
from sweeps.records.address import TrackingUnavailable, looked
from sweeps.records.types import RunRecord
from sweeps.screen import width
from sweeps.status import in_short, lines
from sweeps.words import wrapped
from trm_core.command_line import refuse

EVERY_S = 30


def write_all(out: Path, profile: str | None = None) -> int:
    """Every campaign's report, and the index. Returns the exit code: 2 where MLflow went away in between.

    Raises NoSuchCampaign where there is none, or MLflow has not one of those whose documents lie there;
    TrackingUnavailable.
    """
    there = look(out, profile)
    _refuse_another_store(there, out)
    reader = Reader(out)
    entries = [_written(one, out) for one in reader.read(there)]
    for entry in entries:
        for line in _in_brief(entry):
            print(line)
    for path in write_index(entries, there.said, out):
        print(path)
    for line in there.said:
        refuse(line)
    if reader.gone is not None:
        return refuse(f"{reader.gone}; what was read until then is written")
    return 0


def _refuse_another_store(there: There, out: Path) -> None:
    """Raise NoSuchCampaign where MLflow knows none of the campaigns: the index would say that nothing was ever run."""
    if not _knows_any(there):
        n = sum(map(len, there.campaigns.values()))
        raise NoSuchCampaign(
            f"not one of the {n} campaigns whose documents lie below {out} is in {looked(out)};"
            " the reports and the index are left as they are"
        )


def _knows_any(there: There) -> bool:
    """Whether MLflow has any of the campaigns, not the results folder alone."""
    return any(one.record is not None for of_study in there.campaigns.values() for one in of_study)


def _written(one: One, out: Path) -> Entry:
    """A campaign's report, written where it has any run; and what the index says of it."""
    has_runs = one.gathered is not None and bool(one.gathered.recorded.runs)
    if one.gathered is not None and has_runs:
        with no_collector():
            write_gathered(one.gathered, out)
    return entry_of(one, out, int(1000 * time.time()))


def _in_brief(entry: Entry) -> list[str]:
    """A campaign in a few lines of the terminal."""
    verdicts = index.counts_words(entry.verdicts)
    runs = in_short(entry.runs) if entry.runs else "no run"
    said = f"{entry.name}: {runs}; rows: {verdicts}" if entry.verdicts else f"{entry.name}: {runs}"
    return [
        line for text in (said, *(f"  {line}" for line in entry.said)) for line in wrapped(text, width(), indent="  ")
    ]


def write_index(entries: Sequence[Entry], said: Sequence[str], out: Path) -> list[Path]:
    """index.html and index.md in the results folder."""
    said = [one_line(line) for line in said]
    now_ms = int(1000 * time.time())
    contents = {
        "index.html": index.html(entries, said, now_ms).encode(),
        "index.md": index.markdown(entries, said).encode(),
    }
    write_files(out, contents)
    return [out / name for name in contents]


# --- again and again -------------------------------------------------------------------------------------------------


def watch(
    study: str,
    out: Path,
    profile: str | None = None,
    every_s: int = EVERY_S,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """The study's reports and the index, written again every so many seconds until all of its runs are finished.

    Returns 0, also after Ctrl-C. A MLflow that is silent is said once, and asked again at the next turn. Raises
    NoSuchCampaign, UnknownStudy, TrackingUnavailable before the first turn alone.
    """
    found = find(study, out, profile)
    profile = found[0].profile
    entries: dict[str, Entry] = {}
    seen: dict[str, tuple[RunRecord, ...]] = {}
    silent = ""
    try:
        while True:
            try:
                there = look(out)
                _turn(there, study, profile, out, entries, seen)
                silent = ""
            except TrackingUnavailable as error:
                if not silent:
                    refuse(f"{error}; asked again every {every_s} s")
                silent = str(error)
            of_study = [entry for entry in entries.values() if (entry.study, entry.profile) == (study, profile)]
            if not silent:
                _say_how_far(of_study)
                if of_study and not any(map(_is_open, of_study)):
                    return 0
            sleep(every_s)
    except KeyboardInterrupt:
        print("watched no more; the runs go on", file=sys.stderr)
        return 0


def _turn(
    there: There,
    study: str,
    profile: str,
    out: Path,
    entries: dict[str, Entry],
    seen: dict[str, tuple[RunRecord, ...]],
) -> None:
    """The study's reports where anything has changed, and the index; other studies are looked at in the first turn."""
    reader = Reader(out, patience_s=0)
    for of, found in there.campaigns.items():
        for one_found in found:
            watched = (of, one_found.profile) == (study, profile)
            if not watched and one_found.id in entries:
                continue
            one = reader.one(of, one_found)
            if reader.gone is not None:
                raise reader.gone
            if watched and one.gathered is not None and seen.get(one_found.id) != one.records:
                seen[one_found.id] = one.records
                entries[one_found.id] = _written(one, out)
            else:
                entries[one_found.id] = entry_of(one, out, int(1000 * time.time()))
    known = {one.id for found in there.campaigns.values() for one in found}
    for gone in entries.keys() - known:
        del entries[gone]
    order = [one.id for found in there.campaigns.values() for one in found]
    if _knows_any(there):  # else another store's emptiness would take the index's place
        write_index([entries[one] for one in order], there.said, out)


def _is_open(entry: Entry) -> bool:
    """Whether anything may still come: a run that goes on, or one that is not finished."""
    return any(run.became not in ("done", "pruned") for run in entry.runs)


def _say_how_far(entries: Sequence[Entry]) -> None:
    for entry in entries:
        print(f"{time.strftime('%H:%M:%S')} {entry.name}: {in_short(entry.runs)}")
        for line, _ in lines(entry.running, width()):
            print(f"  {line}" if len(line) + 2 <= width() else line)
