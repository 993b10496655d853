"""Checkpoints: everything a run needs to go on, on CPU bit for bit; safe to open from strangers.

step_00000100/
    weights.safetensors    the model as it is evaluated (EMA weights where there is an EMA)
    training.safetensors   raw weights, both optimisers, slots, sums under way (SignSGD keeps no state)
    checkpoint.json        step, settings, data hash, and the SHA-256 of both files; written last

A checkpoint can have weights only: checkpoint.json says so, and training.safetensors holds no tensor. Such is what is
kept of a run that has ended, and what was imported from another program (trm_core.official; the data hash is empty). It
can be evaluated, not resumed.

A folder appears under its name in one rename, after its files are on the disk. Every random draw of a run is a
function of (seed, step), so the step is also the state of every generator and the position in the data.
Safetensors hold arrays only: opening one can run no code.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from data_prep.files import check_regular, read_json
from trm_core.config import RunConfig

FORMAT = 1
KEPT = 2  # newest checkpoints
IN_A_RUN = "checkpoints"  # the folder of them in a run's
JOURNAL = "metrics.jsonl"  # beside it
IN_MLFLOW = (
    "if the run has ended, its weights are also in MLflow, as its model: `mlflow artifacts download -u"
    " runs:/RUN_ID/model -d FOLDER`, then take FOLDER/model/data"
)
MOST_MANIFEST_BYTES = 1 << 20
LAST_STEP = 10**15  # no run gets there
MOST_POSITIONS = 1 << 16
MOST_PASSES = 10**6  # the paper's deepest model takes 1,248 for an answer
log = logging.getLogger(__name__)


class BadCheckpoint(ValueError):
    """A checkpoint that is torn, foreign, or of another run."""


class CheckpointNotWritten(ValueError):
    """The disk refused a checkpoint; those before it are intact."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint in memory."""

    step: int
    settings: dict[str, Any]  # RunConfig as nested mappings
    data_hash: str
    weights: dict[str, Tensor]
    training: dict[str, Tensor]  # empty where there are weights only

    @property
    def weights_only(self) -> bool:
        """Whether there is nothing to go on from."""
        return not self.training


def save(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write below folder, atomically, and drop all but the newest. Raises CheckpointNotWritten."""
    final = at_step(folder, checkpoint.step)
    partial = folder / f".{final.name}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        digests = {}
        for name in ("weights", "training"):
            path = partial / f"{name}.safetensors"
            tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in getattr(checkpoint, name).items()}
            save_file(tensors, path)
            _to_disk(path)
            digests[path.name] = _sha256(path)
        manifest = partial / "checkpoint.json"
        manifest.write_text(_manifest(checkpoint, digests))
        _to_disk(manifest)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        _to_disk(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointNotWritten(
            f"{final}: not written ({error}); the checkpoints before it are intact;"
            " make room or fix the disk, then give the same command again"
        ) from error
    for old in _steps(folder)[:-KEPT]:
        shutil.rmtree(old)
    return final


def keep_weights(path: Path) -> None:
    """Of the folder of checkpoints that a step_… folder lies in keep that one alone, and of it the weights alone.

    Killed at any moment, it leaves a checkpoint of these weights that opens, and may be done again. Before a byte is
    written the other checkpoints are gone, so a full disk has room. Raises BadCheckpoint, nothing touched, and
    CheckpointNotWritten.
    """
    saved = replace(load(path), training={})
    empty, manifest = path / ".training.safetensors.partial", path / ".checkpoint.json.partial"
    try:
        for other in (*_steps(path.parent), *path.parent.glob(".step_*.partial")):
            if other != path:
                shutil.rmtree(other)
        save_file({}, empty)
        digests = {"weights.safetensors": _sha256(path / "weights.safetensors"), "training.safetensors": _sha256(empty)}
        manifest.write_text(_manifest(saved, digests))
        for partial in (manifest, empty):
            _to_disk(partial)
        manifest.replace(path / "checkpoint.json")  # from here on training.safetensors is not looked at
        _to_disk(path)
        if (path / "training.safetensors").is_dir():  # somebody's; it is to go either way
            shutil.rmtree(path / "training.safetensors")
        empty.replace(path / "training.safetensors")
        _to_disk(path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            for partial in (manifest, empty):
                partial.unlink(missing_ok=True)
        raise CheckpointNotWritten(
            f"{path}: intact, but its training state could not be dropped ({error}); make room or fix the disk, then"
            " give the same command again"
        ) from error


def load(path: Path) -> Checkpoint:
    """Open one checkpoint, checksums verified. Raises BadCheckpoint: what was found, expected, and what to do."""
    try:
        manifest = read_json(path / "checkpoint.json", MOST_MANIFEST_BYTES)
        found, step = manifest["format"], _step(manifest["step"])
        digests, settings, data_hash = dict(manifest["sha256"]), dict(manifest["settings"]), str(manifest["data_hash"])
        parts = ("weights",) if manifest.get("weights_only") is True else ("weights", "training")
    except FileNotFoundError:
        raise BadCheckpoint(f"{path}: no checkpoint.json; not a checkpoint of this program, or a torn one") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise BadCheckpoint(f"{path}/checkpoint.json: unreadable ({_short(repr(error))}); delete {path}") from None
    if found != FORMAT:
        raise BadCheckpoint(f"{path}: checkpoint format {_short(str(found))}, this version reads {FORMAT}")
    for name in (f"{part}.safetensors" for part in parts):
        if not (path / name).is_file():
            raise BadCheckpoint(f"{path}/{name}: missing; delete {path}")
        if _sha256(path / name) != digests.get(name):
            raise BadCheckpoint(f"{path}/{name}: torn or changed, its SHA-256 is not the recorded one; delete {path}")
    try:
        tensors = {part: load_file(check_regular(path / f"{part}.safetensors")) for part in parts}
    except (SafetensorError, OSError, ValueError, LookupError, TypeError, RuntimeError, MemoryError) as error:
        raise BadCheckpoint(f"{path}: not safetensors ({_short(str(error))}); delete {path}") from None
    return Checkpoint(step, settings, data_hash, tensors["weights"], tensors.get("training", {}))


def _step(found: object) -> int:
    """A step as it was written. Raises ValueError."""
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < LAST_STEP:
        raise ValueError(f"step {_short(str(found))}, expected 0 or more")
    return found


def _short(text: str) -> str:
    """Somebody's words in an error, in one line that is not too long."""
    text = " ".join(text.split())
    return text if len(text) <= 200 else f"{text[:200]}…"


def newest(folder: Path) -> Checkpoint | None:
    """The newest good checkpoint below folder; None where there is none at all.

    A torn or foreign one is named in a warning and the one before it is used. Raises BadCheckpoint where all are bad.
    """
    errors = []
    for path in reversed(_steps(folder)):
        try:
            found = load(path)
        except BadCheckpoint as error:
            errors.append(str(error))
            continue
        for told in errors:
            log.warning("%s; using the one before it", told)
        return found
    if errors:
        raise BadCheckpoint(f"{folder}: no good checkpoint ({'; '.join(errors)}); delete {folder} to start anew")
    return None


def open_at(path: Path) -> Checkpoint:
    """The checkpoint that a step_… folder is, or the newest good one of a folder of them, or of a run's folder.

    Raises BadCheckpoint; where a run's weights are lost, it says where else they are.
    """
    try:
        if (path / "checkpoint.json").exists():
            return load(path)
        found = newest(path) or newest(path / IN_A_RUN)
        if found is None:
            raise BadCheckpoint(f"{path}: no checkpoint there; expected a step_… folder, a folder of them, or a run's")
        return found
    except BadCheckpoint as error:
        place = path.absolute()
        if not any((folder / JOURNAL).is_file() for folder in (place, *place.parents[:2])):
            raise
        raise BadCheckpoint(f"{error}; {IN_MLFLOW}") from None


def run_of(saved: Checkpoint) -> RunConfig:
    """The settings of a checkpoint, held against its weights: a model made of them is no larger than those.

    Raises BadSetting; BadCheckpoint where the size is another, or where no answer would come in any time.
    """
    run = RunConfig.parse(saved.settings)
    m, rows = run.model, saved.weights.get("puzzle_embedding.weights")
    odd = [name for name, tensor in saved.weights.items() if not tensor.is_floating_point()]
    odd += ["puzzle_embedding.weights"] if rows is not None and rows.dim() != 2 else []
    if odd:
        raise BadCheckpoint(f"step {saved.step}: {_short(odd[0])} is no matrix of numbers; take another checkpoint")
    features = {"y,z": 2, "single z": 1, "multi-scale z": m.n + 1, "y": 1}[m.features]
    try:
        expected = run.parameters() + features * m.D + (0 if rows is None else rows.numel())
    except OverflowError:
        raise BadCheckpoint(f"step {saved.step}: model.expansion={m.expansion} gives no width; take another") from None
    found = sum(tensor.numel() for tensor in saved.weights.values())
    if found != expected:
        raise BadCheckpoint(
            f"step {saved.step}: its weights do not fit its settings: {found:,} numbers, a model of those has"
            f" {_many(expected)}; take another checkpoint"
        )
    for what, count, most in (
        ("positions", run.sequence, MOST_POSITIONS),
        ("network passes for an answer", m.T * (m.n + 1) * m.N_sup, MOST_PASSES),
    ):
        if count > most:
            raise BadCheckpoint(
                f"step {saved.step}: its settings mean {_many(count)} {what}, expected at most {most:,}; take another"
                " checkpoint"
            )
    return run


def _many(count: int) -> str:
    """A count that may be absurd, in few characters."""
    return f"{count:,}" if count < 10**18 else "more than 10^18"


def at_step(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies below folder, if it does."""
    return folder / f"step_{step:08d}"


def _manifest(checkpoint: Checkpoint, digests: Mapping[str, str]) -> str:
    facts = {
        "format": FORMAT,
        "step": checkpoint.step,
        "data_hash": checkpoint.data_hash,
        "weights_only": checkpoint.weights_only,  # then load() leaves the training state alone
        "sha256": digests,
        "settings": checkpoint.settings,
    }
    return json.dumps(facts, indent=1)


def _steps(folder: Path) -> list[Path]:
    return sorted(folder.glob("step_*")) if folder.is_dir() else []


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
