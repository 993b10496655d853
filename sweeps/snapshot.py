"""A search, or a tuned study, as it stands while its runs go on: handed to the process that writes its report."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from data_prep.files import check_regular, whole
from sweeps.search_record import SearchRecord
from sweeps.tune_record import TuningRecord

NAME = ".snapshot.json"  # beside the report


class BadSnapshot(ValueError):
    """A file that is none."""


class Snapshot(BaseModel):
    """What the report of an unfinished search is made of."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")

    record: SearchRecord | TuningRecord
    headline: str  # "12 of 40 trials ended"
    written_ms: int  # when, by the clock of whoever wrote it
    anew: str  # the command that goes on with it

    def leave(self, folder: Path) -> list[str]:
        """Leave it in the report's folder. Returns what writes that report. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / NAME
        with whole(path) as new:
            new.write_text(self.model_dump_json(), encoding="utf-8")
        return [sys.executable, "-m", "reports.unfinished", str(path)]


def take(path: Path) -> Snapshot:
    """The snapshot that lies there, which then does no more. Raises BadSnapshot."""
    try:
        found = Snapshot.model_validate_json(check_regular(path).read_bytes())
    except (OSError, ValidationError) as error:
        raise BadSnapshot(f"{path}: {str(error).splitlines()[0]}; expected a search's snapshot") from None
    path.unlink(missing_ok=True)
    return found
