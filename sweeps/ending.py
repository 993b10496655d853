"""What a command says at its end: where the runs are and what opens them, what failed, what is left."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from data_prep.redaction import GONE, redacted
from sweeps.campaign import Campaign
from sweeps.conduct import Asked, Ended
from sweeps.screen import paragraph, to_copy
from trm_core.command_line import USER_ERROR

DONE, FAILED = 0, 1  # exit codes, and command_line.USER_ERROR
MLFLOW_UI = "http://127.0.0.1:5000"  # where `mlflow ui` answers


def say_ended(asked: Asked, ended: Ended) -> int:
    """Where the runs are, what failed, what is left. Returns the exit code."""
    print(where_the_runs_are(ended.campaigns))
    several = len(ended.campaigns) > 1
    failed = {
        job.key: replace(job, label=campaign.label if several else "")
        for campaign in ended.campaigns
        for job in campaign.jobs(ended.failed)
    }
    for job in failed.values():
        log = asked.out / "runs" / job.key / "failure.txt"
        print(paragraph(f"failed: {job.name}: {ended.failed[job.key]} (all of it: {log})"), file=sys.stderr)
    if ended.failed.keys() - ended.bad_disk:
        print("failed runs are tried again with --retry-failed", file=sys.stderr)
    if ended.bad_disk:
        again = "make room, or see that the disk is there, then give the same command again; it goes on where it stood"
        print(paragraph(again), file=sys.stderr)
    for problem in ended.problems:
        print(paragraph(problem), file=sys.stderr)
    if ended.problems:
        again = "what is missing is made up for by the same command, which trains nothing again"
        print(to_copy(again, shlex.split(asked.command)), file=sys.stderr)
    if ended.failed and ended.failed.keys() <= ended.bad_disk:  # a person's to mend
        return USER_ERROR
    return FAILED if ended.failed or ended.problems else DONE


def where_the_runs_are(campaigns: Sequence[Campaign]) -> str:
    """What opens MLflow's pages, and the address that opens them on the table."""
    from sweeps.records.address import address
    from sweeps.records.shown import page_of

    uri, page = address(), page_of(campaigns)
    if uri.startswith("http"):
        home = redacted(uri).replace(f"{GONE}@", "").rstrip("/")
        return f"the runs: {home}{page}"
    if not uri.startswith("sqlite"):
        return f"the runs: {redacted(uri)}"
    command = to_copy("the runs", [this_python(), "-m", "mlflow", "ui", "--backend-store-uri", uri])
    return command + (f"\n  then open {MLFLOW_UI}{page}" if page else "")


def say_what_failed(failed: Mapping[str, str], out: Path) -> None:
    """Of a search: each run that has failed, and where all of it stands."""
    for key, reason in failed.items():
        print(paragraph(f"failed: {reason} (all of it: {out / 'runs' / key / 'failure.txt'})"), file=sys.stderr)


def where_the_trials_are(storage: str) -> str:
    """What opens them: Optuna's dashboard, a program of its own that this one does without."""
    beside = Path(sys.executable).with_name("optuna-dashboard")
    there = shutil.which("optuna-dashboard")
    program = from_here(beside) if beside.exists() and there is None else "optuna-dashboard"
    label = "the trials" if beside.exists() or there else "the trials (pip install optuna-dashboard)"
    return to_copy(label, [program, redacted(storage)])


def this_python() -> str:
    """What to type, in the shell of whoever gave this command, for the Python that runs it."""
    on_path = shutil.which("python")
    if on_path is not None:
        there, here = Path(on_path), Path(sys.executable)
        if there.samefile(here) and there.parent.samefile(here.parent):  # a .venv's is a link to another's
            return "python"
    return from_here(Path(sys.executable))


def from_here(path: Path) -> str:
    """A path, relative where it lies below the current folder."""
    try:
        here = Path.cwd()
    except FileNotFoundError:  # it was deleted meanwhile
        return str(path)
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
