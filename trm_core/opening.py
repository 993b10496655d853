"""A checkpoint's model and the puzzles it is asked, opened, and held against each other before any work is done."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from data_prep.puzzle_set import PuzzleSet
from data_prep.released import is_released, open_released
from trm_core import checkpoint as checkpoints_of
from trm_core.checkpoint import BadCheckpoint, Checkpoint
from trm_core.config import RunConfig
from trm_core.model import Model
from trm_core.puzzles import build, is_built
from trm_core.settings import DataSettings


class OtherPuzzles(ValueError):
    """Puzzles that the checkpoint's model cannot read."""


def open_model(saved: Checkpoint) -> tuple[RunConfig, Model]:
    """(settings, the model as it is evaluated) of a checkpoint, on the CPU. Raises BadCheckpoint, BadSetting."""
    run = checkpoints_of.run_of(saved)
    rows = saved.weights.get("puzzle_embedding.weights")
    model = Model(run, 1 if rows is None else len(rows))
    try:
        model.load_state_dict(saved.weights)
    except RuntimeError as error:
        raise BadCheckpoint(f"step {saved.step}: its weights do not fit its settings ({str(error)[:300]})") from None
    return run, model.requires_grad_(False)


@contextlib.contextmanager
def open_puzzles(folder: Path, settings: DataSettings | None) -> Iterator[PuzzleSet]:
    """A puzzle set of ours, a dataset of the released code, or the set of these settings, of a folder of files.

    The last is built in a temporary folder; settings: None where a set must be there. Raises PuzzleError, BadSetting.
    """
    if is_released(folder):
        yield open_released(folder)
    elif settings is None or is_built(folder) or (settings.puzzle != "arc" and not any(folder.glob("*.csv"))):
        yield PuzzleSet.open(folder)
    else:
        of_files = settings.model_copy(update={"source": "files", "clues": None, "least_path": None})
        with tempfile.TemporaryDirectory(prefix="trm-puzzles-") as elsewhere:
            yield build(Path(elsewhere) / "set", folder, of_files)


def check_puzzles(run: RunConfig, model: Model, data: PuzzleSet, split: str, *, blank_identifiers: bool) -> None:
    """Raises OtherPuzzles where the model was made for others, or where there are none."""
    if (data.cells, data.vocab) != (run.data.cells, run.data.vocabulary):
        raise OtherPuzzles(
            f"puzzles of {data.cells} cells and {data.vocab} tokens, but the checkpoint's model reads {run.data.cells}"
            f" cells and {run.data.vocabulary} tokens ({run.data.puzzle}); give the puzzles it was trained for"
        )
    puzzles = data.splits[split]
    if not len(puzzles):
        others = ", ".join(name for name, other in data.splits.items() if len(other))
        raise OtherPuzzles(f"split {split} is empty; give --split one of {others}")
    if model.puzzle_embedding is None or blank_identifiers:
        return
    # A task's variants have identifiers beyond its own.
    last = puzzles.puzzle_ids.max() if data.groups is None else data.n_puzzle_ids - 1
    if last >= len(model.puzzle_embedding.weights):
        raise OtherPuzzles(
            f"puzzle identifier {last}, but the checkpoint's model has {len(model.puzzle_embedding.weights)}; give the"
            " dataset it was trained on, or --blank-identifiers"
        )


def check_tasks(
    saved: Checkpoint, run: RunConfig, data: PuzzleSet, split: str, *, blank_identifiers: bool, allow_leak: bool
) -> tuple[str, ...]:
    """ARC: the tasks of a split that the model has learnt from. Raises Leaks, OtherPuzzles for others' identifiers."""
    if data.groups is None:
        return ()
    from data_prep.arc import Leaks, known_leaks

    same_set = saved.data_hash == data.content_hash
    if same_set:
        leaks = data.manifest.leaks if split == "test" else ()
    else:
        leaks = tuple(known_leaks(data, run.data.subsets.split(","), run.data.test_subset, split))
    if leaks and not same_set and not allow_leak:  # of its own set the person who built it has said yes
        shown = leaks if len(leaks) <= 8 else leaks[:4]
        more = f" and {len(leaks) - len(shown)} more" if len(leaks) > len(shown) else ""
        raise Leaks(
            f"leak: the model was trained on {run.data.subsets}, and {len(leaks)} of the tasks it is asked are among"
            f" them: {', '.join(shown)}{more}; give a set it has not seen, or --allow-leak, and its numbers say so"
        )
    if not same_set and run.model.puzzle_prefix and not blank_identifiers:
        raise OtherPuzzles(
            f"tasks of another set (content {data.content_hash[:12]}..., the checkpoint's is"
            f" {saved.data_hash[:12] or 'not known'}...): its identifiers are of other tasks; give the set it was"
            " trained on, or --blank-identifiers"
        )
    return leaks
