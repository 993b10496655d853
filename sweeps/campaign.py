"""Campaign: what was asked for, as a document that plan, runs and report share.

A campaign is a study in a profile with some changes. It is written before the first run, to MLflow and to its report
folder, and read by whatever comes after: nothing works out a second time which runs belong to a table. Its id is the
hash of its rows' settings without the seeds, so seeds can be added to it later: same campaign, more runs.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator

from data_prep.files import check_regular
from sweeps.changes import label, normal, read_assignment
from sweeps.profiles import PROFILES, configure
from sweeps.study import ProfileName, Row, Study
from trm_core.config import RunConfig
from trm_core.settings import NOT_IN_THE_KEY, BadSetting, DataSettings, Settings

# of the document; an older one reads as well. 2: a study's claims and baseline; 3: its reach, and a run's curriculum
VERSION = 3
FILE = "campaign.json"
SEED_OPTIONS = {"train.seed": "--seeds", "data.seed": "--data-seeds"}
SEEDS = {"train": {"seed"}, "data": {"seed"}}  # a run's own; every other setting is the campaign's
MOST_RUNS = 10_000  # that a command makes without --yes

# A document may be anybody's, and this names a folder: no slash, no dot in front.
FOLDER_NAME = r"^([A-Za-z0-9_+-][A-Za-z0-9._,=+-]*)?$"
FolderName = Annotated[str, Field(pattern=FOLDER_NAME)]


class BadCampaign(ValueError):
    """A campaign document that is torn, foreign or of a newer version."""


class NewerCampaign(BadCampaign):
    """A campaign document that a newer program has written: not to be overwritten."""


class BadSeeds(ValueError):
    """Seeds that are none, or the same one twice."""


@dataclass(frozen=True)
class Job:
    """One run to be made: a row at its seeds. `key` is its name everywhere."""

    key: str
    study: str
    row: str
    base: str
    profile: str
    seed: int
    run: RunConfig
    label: str = ""  # of its campaign, where several are made side by side

    @property
    def data_seed(self) -> int:
        """Which puzzles were drawn, and which of their variants."""
        return self.run.data.seed

    @property
    def name(self) -> str:
        """The row and what tells this run from the row's others: "TRM k=1, T=1 seed 0"."""
        return f"{self.title} {self.seeds}"

    @property
    def title(self) -> str:
        """The row, and its campaign's label where there are several: "TRM k=1, T=1 at lr=0.001"."""
        return f"{self.row} at {self.label}" if self.label else self.row

    @property
    def seeds(self) -> str:
        """ "seed 0"; "seed 0, data seed 1" where other puzzles were drawn."""
        return f"seed {self.seed}" + (f", data seed {self.data_seed}" if self.data_seed else "")


class CampaignRow(Settings):
    """A row of the study as it is in this campaign."""

    name: str
    settings: RunConfig | None  # with both seeds at 0; None where the changes cannot be for this row
    why_not: str = ""  # why there are no settings


class CampaignRun(Settings):
    """A run that was asked for."""

    row: str
    seed: int
    data_seed: int = 0
    data: str  # the content hash of its puzzles
    key: str


class Campaign(Settings):
    """The document. Frozen; `extended` makes the one with more runs."""

    version: int = VERSION
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    label: FolderName  # of the changes, readable; empty for the profile as it stands
    study: Study  # what the paper prints, and how the table is laid out
    profile: ProfileName
    comparable: bool  # whether the profile's numbers may stand beside the paper's
    profile_note: str = ""
    changes: tuple[str, ...] = ()  # "optim.lr=0.001": those that change anything, as --set takes them
    rows: tuple[CampaignRow, ...]  # every row of the study, in its order
    runs: tuple[CampaignRun, ...] = ()  # in the order in which they are to be made
    command: str = ""  # that asked last

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        """Every run is of a row, and every row is declared."""
        rows, declared = {row.name for row in self.rows}, {row.name for row in self.study.rows}
        if lost := sorted({run.row for run in self.runs} - rows) or sorted(rows - declared):
            raise ValueError(f"{lost[0]!r} is no row of this campaign")
        return self

    @property
    def name(self) -> str:
        """For a person: "recursion_depth in mini with lr=0.003"."""
        return f"{self.study.name} in {self.profile}" + (f" with {self.label}" if self.label else "")

    @property
    def keys(self) -> frozenset[str]:
        """Of all runs that were asked for."""
        return frozenset(run.key for run in self.runs)

    @property
    def seeds(self) -> tuple[int, ...]:
        """All values of train.seed."""
        return tuple(sorted({run.seed for run in self.runs}))

    @property
    def data_seeds(self) -> tuple[int, ...]:
        """All values of data.seed."""
        return tuple(sorted({run.data_seed for run in self.runs}))

    def row(self, name: str) -> Row | None:
        """The declared row of that name."""
        return next((row for row in self.study.rows if row.name == name), None)

    def settings(self, row: str) -> RunConfig | None:
        """A row's settings, with both seeds at 0; None where there is no such row, or the changes cannot be for it."""
        return next((one.settings for one in self.rows if one.name == row), None)

    def run(self, row: str, seed: int, data_seed: int = 0) -> RunConfig:
        """A row's run at its seeds. Raises BadSetting where the changes cannot be for this row."""
        (of,) = (one for one in self.rows if one.name == row)
        if of.settings is None:
            raise BadSetting(f"{row!r}: {of.why_not}")
        return of.settings.change({"train": {"seed": seed}, "data": {"seed": data_seed}})

    def has(self, *, row: str, seed: int, data_seed: int, data: str, key: str) -> bool:
        """Whether a recorded run with this name is this campaign's: the key follows from the row's settings."""
        if key in self.keys:
            return True
        settings = self.settings(row)
        if settings is None:
            return False
        return settings.change({"train": {"seed": seed}, "data": {"seed": data_seed}}).key(data) == key

    def jobs(self, wanted: Collection[str] | None = None) -> tuple[Job, ...]:
        """The runs, or those with these keys, as jobs."""
        bases = {row.name: row.base for row in self.study.rows}
        return tuple(
            Job(
                one.key,
                self.study.name,
                one.row,
                bases[one.row],
                self.profile,
                one.seed,
                self.run(one.row, one.seed, one.data_seed),
            )
            for one in self.runs
            if wanted is None or one.key in wanted
        )

    def asked(
        self,
        rows: Iterable[Row],
        seeds: Sequence[int],
        data_seeds: Sequence[int],
        data_hash: Callable[[DataSettings], str],
        command: str = "",
    ) -> Campaign:
        """The campaign with these rows at these seeds, crossed, and no others.

        The first seed of every row comes before the second of any. data_hash: the content hash of the puzzle set of
        these data settings. Raises BadSetting; also where the changes make two rows the same run.
        """
        runs: dict[str, CampaignRun] = {}
        rows = tuple(rows)
        for data_seed, seed in product(data_seeds, seeds):
            for row in rows:
                run = self.run(row.name, seed, data_seed)
                data = data_hash(run.data)
                one = CampaignRun(row=row.name, seed=seed, data_seed=data_seed, data=data, key=run.key(data))
                if (same := runs.get(one.key)) is not None:
                    raise BadSetting(
                        f"--set {' '.join(self.changes)}: {same.row!r} and {row.name!r} become the same run;"
                        " leave out what tells them apart, or pick one with --only"
                    )
                runs[one.key] = one
        return self.model_copy(update={"runs": tuple(runs.values()), "command": command})

    def extended(self, newer: Campaign) -> Campaign:
        """This campaign with the runs of the newer of two documents too; what else they say, the newer one says.

        Where both have the same row on the same draw of puzzles, but other puzzles (another --data), the newer one's
        stay: two test sets never meet in one mean.
        """
        assert self.id == newer.id, (self.id, newer.id)
        drawn = {(run.row, run.data_seed): run.data for run in newer.runs}
        keys = newer.keys
        kept = [
            run
            for run in self.runs
            if run.key not in keys and drawn.get((run.row, run.data_seed), run.data) == run.data
        ]
        # a search's rows grow with its trials; a study's are the same
        names = {row.name for row in newer.rows}
        rows = (*newer.rows, *(row for row in self.rows if row.name not in names))
        known = {row.name for row in newer.study.rows}
        declared = (*newer.study.rows, *(row for row in self.study.rows if row.name not in known))
        order = {row.name: at for at, row in enumerate(rows)}
        runs = sorted((*kept, *newer.runs), key=lambda run: (run.data_seed, run.seed, order[run.row]))
        study = newer.study.model_copy(update={"rows": declared})
        return newer.model_copy(update={"rows": rows, "study": study, "runs": tuple(runs)})

    def folder(self, out: Path) -> Path:
        """Where its report lies: <out>/<profile>/<study>, and below that its label where there are changes.

        Where another campaign's document lies there already (a study file that was edited, an older version of a
        profile), beside it under its own id: no report takes another's place.
        """
        home = out / self.profile / self.study.name
        folder = home / self.label if self.label else home
        other = id_in(folder)
        return folder if other in (None, self.id) else home / f"{self.label or 'campaign'}-{self.id[:8]}"

    def text(self) -> str:
        """The document as JSON."""
        return json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"


def declare(study: Study, profile: ProfileName, changes: Sequence[str] = ()) -> Campaign:
    """The campaign of a study in a profile with these changes ("model.D=96", "maze:model.D=96"), without runs yet.

    A row that the changes cannot be for has no settings, and says why. Raises BadSetting where they can be for no row,
    and for a seed, which is a run's own.
    """
    for change in changes:
        if (name := read_assignment(change).name) in SEED_OPTIONS:
            option = SEED_OPTIONS[name]
            raise BadSetting(
                f"--set {change}: a seed is a run's own; use {option} 5-5 for that one, {option} 3 for three"
            )
    rows = _rows(study, profile, changes)
    if all(row.settings is None for row in rows):
        raise BadSetting(rows[0].why_not)
    effective = list(normal(changes))
    for one in tuple(effective):
        others = [other for other in effective if other != one]
        if _rows(study, profile, others) == rows:
            effective = others
    return Campaign(
        id=_id(study, profile, rows),
        label=label(effective),
        study=study,
        profile=profile,
        comparable=PROFILES[profile].comparable,
        profile_note=PROFILES[profile].note,
        changes=tuple(effective),
        rows=rows,
    )


def _rows(study: Study, profile: ProfileName, changes: Sequence[str]) -> tuple[CampaignRow, ...]:
    return tuple(_row(study, row, profile, changes) for row in study.rows)


def _row(study: Study, row: Row, profile: ProfileName, changes: Sequence[str]) -> CampaignRow:
    try:
        run = configure(study, row, profile, 0, changes)
    except BadSetting as error:
        return CampaignRow(name=row.name, settings=None, why_not=str(error))
    return CampaignRow(name=row.name, settings=run.change({"data": {"seed": 0}}))


def _id(study: Study, profile: str, rows: Sequence[CampaignRow]) -> str:
    """16 hex digits from the settings of the rows, without seeds and what is in no key, defaults left out."""
    left_out = {**SEEDS, "train": {"seed", *NOT_IN_THE_KEY}}
    settings = {
        row.name: row.settings and row.settings.model_dump(mode="json", exclude_defaults=True, exclude=left_out)
        for row in rows
    }
    text = json.dumps([study.name, profile, settings], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# --- the document, read ----------------------------------------------------------------------------------------------


def read(text: str, where: str) -> Campaign:
    """The campaign behind a document. Raises BadCampaign with `where` it was found."""
    again = "give the study's command again to write it anew"
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise BadCampaign(f"{where}: torn, or no campaign document (expected JSON); {again}") from None
    version = found.get("version") if isinstance(found, Mapping) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise BadCampaign(f"{where}: no campaign document (no version in it); {again}")
    found = _clean(found)
    if version > VERSION:
        raise NewerCampaign(
            f"{where}: a campaign document of version {version}, this program reads {VERSION};"
            " use the newer program that wrote it"
        )
    try:
        campaign = Campaign.model_validate({**found, "version": VERSION})
        normal(campaign.changes)
        return campaign
    except BadSetting as error:
        raise BadCampaign(f"{where}: changes: {str(error)[:200]}; {again}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise BadCampaign(f"{where}: {place}: {first['msg']} (and {error.error_count() - 1} more); {again}") from None


def _clean(found: Any) -> Any:
    """The same without control characters: whoever wrote it, its words go to terminals and into tables."""
    if isinstance(found, str):
        return "".join(character if character.isprintable() else " " for character in found)
    if isinstance(found, Mapping):
        return {_clean(name): _clean(value) for name, value in found.items()}
    return [_clean(value) for value in found] if isinstance(found, list) else found


def read_file(path: Path) -> Campaign:
    """The campaign in this file. Raises BadCampaign."""
    try:
        text = check_regular(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise BadCampaign(f"{path}: cannot be read ({reason})") from None
    return read(text, str(path))


def id_in(folder: Path) -> str | None:
    """The id of the campaign whose document lies in this folder; None where there is none, or none that can be read."""
    try:
        found = json.loads(check_regular(folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    name = found.get("id") if isinstance(found, Mapping) else None
    return name if isinstance(name, str) else None


# --- seeds -----------------------------------------------------------------------------------------------------------


def read_seeds(text: str, option: str = "--seeds") -> tuple[int, ...]:
    """ "3" is seeds 0, 1, 2; "0-4" and "2,5" are those seeds, also mixed: "0-2,7". Raises BadSeeds."""
    if re.fullmatch(r"[0-9]{1,6}", text):
        if (count := int(text)) < 1:
            raise BadSeeds(f"{option} {text}: expected a number of 1 or more, a range as 0-4, or seeds as 2,5")
        return tuple(range(count))
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", part.strip())
        if found is None:
            raise BadSeeds(
                f"{option} {text}: {part.strip()!r} is no seed; expected a number as 3 (seeds 0, 1, 2), a range as 0-4,"
                " or seeds as 2,5; none below 0"
            )
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first:
            raise BadSeeds(f"{option} {text}: {part.strip()} runs backwards; expected {last}-{first}")
        if last - first >= MOST_RUNS * 10:
            raise BadSeeds(f"{option} {text}: {last - first + 1:,} seeds; expected fewer than {MOST_RUNS * 10:,}")
        seeds += range(first, last + 1)
    twice = [seed for seed, count in Counter(seeds).items() if count > 1]
    if twice:
        raise BadSeeds(f"{option} {text}: seed {min(twice)} is there twice; give each once")
    return tuple(seeds)
