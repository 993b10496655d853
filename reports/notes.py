"""The notes below a table: what is missing, what stands elsewhere, and why. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from reports import paper, stats
from reports.facts import PUZZLES, have_test_sets_of_their_own, setting_text
from reports.judging import by_seeds
from reports.runs import said
from reports.stats import Pool
from reports.types import TableRow
from sweeps.campaign import Campaign
from sweeps.records.types import RunRecord
from sweeps.study import PuzzleName

NOT_POSSIBLE = "not possible"  # a row that the campaign's changes cannot be for


def notes_on_spreads(rows: Sequence[TableRow], pools: Sequence[Pool], *, losses: bool = False) -> tuple[str, ...]:
    """The notes on how far runs of a row lie apart: by what rule, and which of the two seeds does it.

    losses: whether the table is of losses, so that it has to be said that these are of accuracies.
    """
    notes = []
    what = "Spread of accuracy over seeds" if losses else "Spread over seeds"
    for pool in pools:
        if pool.df == 0 or len(pool.rows) < 2:
            continue
        named = next(iter(_columns(rows, pool)), "")
        spread = (
            ""
            if (sd := pool.sd(next(iter(pool.rows)))) is None or pool.scale != "points"
            else f", {100 * sd:.1f} points"
        )
        levene = "" if pool.homogeneity is None else f"; Levene's test of one variance: p = {pool.homogeneity:.2g}"
        notes.append(f"{what}{f' ({named})' if named else ''}: {stats.SCALES[pool.scale]}{spread}{levene}.")
    apart = stats.spread_apart([by_seeds(row) for row in rows])
    if apart.data is not None:
        train = "not known" if apart.train is None else f"{100 * apart.train:.1f} points"
        notes.append(
            f"Runs of a row on the same puzzles differ by their training seeds: {train}; draws of the puzzles differ by"
            f" {100 * apart.data:.1f} points beside (standard deviations)."
        )
    return tuple(notes)


def _columns(rows: Sequence[TableRow], pool: Pool) -> list[str]:
    """The name of the pool's test set, where the table has several."""
    if not have_test_sets_of_their_own(rows):
        return []
    return [row.place.get("model", row.puzzle) for row in rows if row.name in pool.rows]


def not_the_published_set(rows: Sequence[TableRow], *, comparable: bool) -> tuple[str, ...]:
    """The note where numbers stand beside the paper's, measured on another number of test puzzles than there."""
    notes: dict[tuple[PuzzleName, int], set[int]] = {}
    for row in rows:
        published = None if row.settings is None else paper.published_test(row.settings.data)
        if comparable and row.puzzles is not None and published is not None and row.puzzles != published:
            notes.setdefault((row.puzzle, published), set()).add(row.puzzles)
    return tuple(
        f"Measured on {' or '.join(f'{count:,}' for count in sorted(counts))} test {PUZZLES[puzzle]}, not the published"
        f" test set of {published:,} {PUZZLES[puzzle]} that the paper's column is of."
        for (puzzle, published), counts in notes.items()
    )


def why_paths_differ(rows: Sequence[TableRow]) -> tuple[str, ...]:
    """The note on the two accuracies of mazes."""
    if all(row.shortest_path is None for row in rows):
        return ()
    return (
        "Mazes: exact match, as in the paper, asks for the published path; it is one of millions of equally short paths"
        " (a median of 3.8 million at 30×30), picked by a tie-break. "
        '"A shortest path" takes any of them, checked by search.',
    )


def notes_on_runs(campaign: Campaign, rows: Sequence[TableRow]) -> tuple[str, ...]:
    """The study's own notes, rows with settings of their own, and every run without a number."""
    notes = [note for note in (campaign.study.note, campaign.profile_note) if note]
    for declared in campaign.study.rows_of(campaign.profile):
        changed = [
            f"{section}.{name}={setting_text(value)}"
            for section, values in declared.change_in.get(campaign.profile, {}).items()
            for name, value in values.items()
        ]
        if changed and campaign.study.layout != "speed":  # whose rows are nothing but such settings
            notes.append(f"{declared.name} has settings of its own in {campaign.profile}: {', '.join(changed)}.")
    for row in rows:
        if row.status.startswith(NOT_POSSIBLE):
            notes.append(f"{row.name}: {row.status}.")
        for run in row.runs:
            if run.accuracy is None:
                notes.append(f"{row.name}, {run.seeds}: {said(run)}" + ("; not in the mean." if row.values else "."))
    return tuple(notes)


def not_in_this_table(left: Mapping[str, int], unreadable: Sequence[str]) -> tuple[str, ...]:
    """How many runs of this study in this profile are elsewhere, and where; and how many records are none."""
    notes = []
    if left:
        count = sum(left.values())
        runs = "1 recorded run is" if count == 1 else f"{count:,} recorded runs are"
        reasons = "; ".join(f"{why} ({of:,})" if len(left) > 1 else why for why, of in sorted(left.items()))
        notes.append(f"{runs} not in this table: {reasons}.")
    if unreadable:
        records = "1 record" if len(unreadable) == 1 else f"{len(unreadable):,} records"
        first = "" if len(unreadable) == 1 else ", the first: "
        notes.append(f"{records} in MLflow cannot be read{first or ': '}{unreadable[0]}.")
    return tuple(notes)


def elsewhere(campaign: Campaign, others: Iterable[RunRecord], labels: Mapping[str, str]) -> dict[str, int]:
    """What a note says of runs that are not the campaign's, with how many keys it says it of.

    labels: the label of each campaign, by id.
    """
    rows = {row.name for row in campaign.study.rows}
    trained_last = sorted(others, key=lambda one: (not one.is_reused, one.run_id))
    why = {record.key: _whose(record, rows, labels) for record in trained_last}
    return dict(Counter(why.values()))


def _whose(record: RunRecord, rows: Iterable[str], labels: Mapping[str, str]) -> str:
    if record.row not in rows:
        return "rows that the study no longer has"
    if record.campaign not in labels:
        return "settings of no campaign, by an older version"
    label = labels[record.campaign]
    return f"the campaign {label}" if label else "the campaign without changes"
