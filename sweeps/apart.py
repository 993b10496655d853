"""Evaluations in mid-run made beside the training: each a Ray task of its own, on a device that is free.

What is scored lies in the run's folder, evaluating/step_…, until its scores stand in the journal; so a run that was
killed asks for them again, and its curves are those of a run that evaluated itself. Where no device is free by the
time they are needed, where two wait already, and where a task fails, the run's own process scores the weights.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prep.puzzle_set import PuzzleSet
from sweeps.folder import Task
from sweeps.records.types import Measurement
from sweeps.words import whole_number
from trm_core import checkpoint
from trm_core.checkpoint import BadCheckpoint, Checkpoint
from trm_core.config import RunConfig
from trm_core.model import Model
from trm_core.scores import scores_elsewhere, scores_of_saved
from trm_core.settings import BadSetting

FOLDER = "evaluating"  # in a run's folder
AT_ONCE = checkpoint.KEPT  # evaluations of a run that wait or go on
log = logging.getLogger(__name__)


class Apart:
    """The evaluations of one run that others make, each on as much of a device as the run itself has."""

    def __init__(self, task: Task, data: PuzzleSet) -> None:
        self._task, self._data = task, data
        self._folder = task.folder / FOLDER
        self._asked: dict[int, Any] = {}  # step → Ray's reference to its scores
        self._remote: Any = None

    def take_up(self, rows: Sequence[Measurement]) -> list[Measurement]:
        """What an earlier process of the run left to be scored is asked for again. rows: of its journal.

        Returns what could not be asked for and was scored here.
        """
        if self._folder.is_symlink():  # somebody's: what lies behind it is not ours to drop, nor the place to write to
            self._folder.unlink()
        here = []
        lack = {row.step for row in rows if not is_scored(row)}
        for path in self._weights():
            step = whole_number(path.name.removeprefix("step_"))
            # its scores are there, the run comes to this step again, or it is none of this run's
            if step is None or step not in lack or not self._is_ours(path, step):
                _drop(path)
            elif self._asks:
                self._ask(step)
            else:
                here += self._score_here(step)
        return here

    def __call__(self, step: int, model: Model) -> bool:
        """As train() asks: whether the weights of this step are scored elsewhere. Raises CheckpointNotWritten."""
        if not self._asks or len(self._asked) >= AT_ONCE:
            return False
        settings = self._task.run.model_dump(mode="json")
        checkpoint.save(Checkpoint(step, settings, self._data.content_hash, dict(model.state_dict()), {}), self._folder)
        self._ask(step)
        return True

    def ended(self) -> list[Measurement]:
        """Scores that have come since the last time."""
        if not self._asked:
            return []
        import ray

        ready, _ = ray.wait([*self._asked.values()], num_returns=len(self._asked), timeout=0)
        return [row for step, asked in [*self._asked.items()] if asked in ready for row in self._take(step)]

    def let_go(self) -> None:
        """The run does not go on in this process: nothing that it asked for takes a device from others."""
        for asked in self._asked.values():
            import ray

            with contextlib.suppress(Exception):  # Ray's own, of many kinds: it may be gone
                ray.cancel(asked, force=False)
        self._asked.clear()

    def finish(self) -> list[Measurement]:
        """All that is left: nobody waits for a device, what has not come is scored here."""
        found = self.ended()
        due = [*self._asked]
        self.let_go()
        return found + [row for step in due for row in self._score_here(step)]

    def forget(self, rows: Sequence[Measurement]) -> None:
        """These stand in the journal: their weights go."""
        for row in rows:
            shutil.rmtree(checkpoint.at_step(self._folder, row.step), ignore_errors=True)

    def forget_all(self) -> None:
        """The run has ended: its weights go, and their folder where nothing else lies in it."""
        if self._folder.is_symlink():
            return
        for path in self._weights():
            _drop(path)
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def _weights(self) -> list[Path]:
        """What has a name of ours there, weights half written among them."""
        return sorted([*self._folder.glob("step_*"), *self._folder.glob(".step_*.partial")])

    @property
    def _asks(self) -> bool:
        """Whether there is a Ray to ask, and it is wanted."""
        if not self._task.run.train.evaluate_apart:
            return False
        import ray

        return bool(ray.is_initialized())

    def _ask(self, step: int) -> None:
        import ray

        path, task = checkpoint.at_step(self._folder, step), self._task
        needs = {"num_cpus": 1, "num_gpus": task.gpu, "scheduling_strategy": "DEFAULT"}  # not in its trial's places
        self._remote = self._remote or ray.remote(scores_elsewhere)  # Ray sends each that is made to its head
        self._asked[step] = self._remote.options(**needs).remote(path, task.data, task.device, task.threads)

    def _take(self, step: int) -> list[Measurement]:
        import ray

        asked = self._asked.pop(step)
        try:
            found = ray.get(asked)
        except Exception as error:  # the task's own, or Ray's: its machine has gone
            log.warning(
                "step %s was to be scored elsewhere (%s); scored here", step, " ".join(str(error).split())[:200]
            )
            return self._score_here(step)
        return [_row(step, found)]

    def _is_ours(self, path: Path, step: int) -> bool:
        """Whether these are weights of this run at this step, whole and where a checkpoint of it is looked for."""
        if path.is_symlink() or path != checkpoint.at_step(self._folder, step):
            return False
        try:
            saved = checkpoint.load(path)
            theirs = RunConfig.parse(saved.settings).key(saved.data_hash)
        except (BadCheckpoint, BadSetting) as error:
            log.warning("the scores of step %s are lost: %s", step, error)
            return False
        return saved.step == step and theirs == self._task.run.key(self._data.content_hash)

    def _score_here(self, step: int) -> list[Measurement]:
        """Nothing where its weights are torn: a run killed while they were written evaluates that step again."""
        path = checkpoint.at_step(self._folder, step)
        try:
            return [_row(step, scores_of_saved(path, self._data, self._task.device))]
        except (BadCheckpoint, BadSetting) as error:
            log.warning("the scores of step %s are lost: %s", step, error)
            _drop(path)  # else it would count among those that are kept
            return []


def is_scored(row: Measurement) -> bool:
    """Whether it has an evaluation; diagnostics, which are validation/ too, are none."""
    return "validation/puzzles" in row.metrics or "test/puzzles" in row.metrics


def _drop(path: Path) -> None:
    """A folder, or whatever else lies there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _row(step: int, found: dict[str, float]) -> Measurement:
    return Measurement(step, int(time.time() * 1000), found)
