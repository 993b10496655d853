"""What a file of reference numbers holds, read as input of unknown origin: arrays, and the settings behind them.

A file tells its own model, optimiser and shape: `cfg` and `optim` (JSON, in the released code's names) and the tensors'
names. Its name tells nothing.
"""

from __future__ import annotations

import json
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trm_core.config import RunConfig
from trm_core.layers import RMS_EPS, ROPE_THETA
from trm_core.losses import IGNORE
from trm_core.official import PREFIX, BadStateDict, check, told_by
from trm_core.settings import BadSetting, DataSettings

Arrays = Mapping[str, NDArray[Any]]

MOST_BYTES = 1 << 30  # of all arrays together: reference models are small
MOST_DEPTH = 10_000  # layers that a supervision step applies: more than any reference has, or anybody waits for

# Where a file has no `optim`: the settings that the float32 reference numbers were computed with.
OPTIM = {
    "lr": 1e-3,
    "weight_decay": 0.1,
    "beta1": 0.9,
    "beta2": 0.95,
    "embedding_lr": 1e-2,
    "embedding_weight_decay": 0.1,
    "warmup_steps": 4,
    "ema": 0.9,
}
NEEDED = ("H_cycles", "L_cycles", "hidden_size", "num_heads", "halt_max_steps", "seq_len", "vocab_size", "batch_size")
FIXED: dict[str, Any] = {"rms_norm_eps": RMS_EPS, "rope_theta": ROPE_THETA, "causal": False}  # no switch of ours
OTHERS = {  # of cfg: read too, or told by the tensors
    *("H_layers", "L_layers", "expansion", "pos_encodings", "halt_exploration_prob", "forward_dtype", "mlp_t"),
    *("puzzle_emb_len", "puzzle_emb_ndim", "num_puzzle_identifiers", "no_ACT_continue"),
}
UNREADABLE = (  # what numpy's reader raises on damaged files
    OSError, EOFError, ValueError, LookupError, TypeError, RuntimeError, MemoryError, OverflowError, SyntaxError,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class BadReference(ValueError):
    """A reference file that is missing or unreadable, or that lacks or contradicts what it should hold."""


class ReferenceData(DataSettings):
    """The reference's puzzles: so many cells and tokens, no board of any game."""

    n_cells: int
    n_tokens: int

    @property
    def cells(self) -> int:
        """L."""
        return self.n_cells

    @property
    def vocabulary(self) -> int:
        """V."""
        return self.n_tokens


@dataclass(frozen=True)
class Reference:
    """One file: the released code's numbers, and our settings for what it computed."""

    name: str
    arrays: Arrays
    run: RunConfig
    dtype: torch.dtype  # float32 or float64, throughout
    steps: int  # of training
    notes: tuple[str, ...] = ()  # options in it that mean nothing here

    def weights(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under a prefix ("sd", "after"), in their names."""
        return _tensors(self.arrays, prefix, self.dtype)

    def batch(self, prefix: str) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs and labels [B, cells] and puzzle identifiers [B], int64."""
        names = ("inputs", "labels", "puzzle_identifiers")
        inputs, labels, ids = (torch.from_numpy(self.arrays[f"{prefix}/{name}"].astype(np.int64)) for name in names)
        return inputs, labels, ids


def load(path: Path) -> Reference:
    """A reference file. Raises BadReference, one line."""
    arrays = _read(path)
    try:
        return _understood(path.stem, arrays)
    except (BadReference, BadStateDict, BadSetting) as error:
        raise BadReference(f"{path}: {' '.join(str(error).split())}") from None


def _read(path: Path) -> Arrays:
    try:
        if not path.is_file():
            raise BadReference(f"{path}: no such file; give the folder of the reference numbers")
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MOST_BYTES:
            raise BadReference(f"{path}: {size:,} bytes of arrays; expected a small model of at most {MOST_BYTES:,}")
        with np.load(path, allow_pickle=False) as file:
            return {name: _plain(path, name, file[name]) for name in file.files}
    except BadReference:
        raise
    except UNREADABLE as error:
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise BadReference(f"{path}: not a readable .npz file ({said})") from None


def _plain(path: Path, name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Texts as they are, and numbers in one of the types that torch has. Raises BadReference for anything else."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind in "bU":
        return array
    if kind in "iu":
        return array.astype(np.int64)
    if kind == "f" and size in (4, 8):
        return array.astype(array.dtype.newbyteorder("="))
    raise BadReference(f"{path}: {name}: {array.dtype}, expected float32, float64, integers or truth values")


def _understood(name: str, arrays: Arrays) -> Reference:
    """Everything about a file that can be known before anything is computed."""
    if lacking := {"cfg", "in0/inputs", "out0/logits"} - set(arrays):
        raise BadReference(f"lacks {', '.join(sorted(lacking))}; not a file of reference numbers")
    dtype = {"float32": torch.float32, "float64": torch.float64}.get(str(arrays["out0/logits"].dtype))
    if dtype is None:
        raise BadReference(f"out0/logits is {arrays['out0/logits'].dtype}; expected float32 or float64")
    cfg = _options(arrays, "cfg")
    optim = {**OPTIM, **(_options(arrays, "optim") if "optim" in arrays else {})}
    theirs = _tensors(arrays, "sd", dtype)
    texts = [key for key in arrays if arrays[key].dtype.kind == "U" and key not in ("cfg", "optim")]
    if texts:
        raise BadReference(f"{texts[0]}: a text, expected numbers")
    run = _settings(cfg, {key: value for key, value in optim.items() if key in OPTIM}, theirs)
    check(theirs, run)
    rows = theirs.get(f"{PREFIX}puzzle_emb.weights")
    steps = 0
    while f"in{steps}/inputs" in arrays:
        _check_batch(arrays, f"in{steps}", run, None if rows is None else len(rows))
        steps += 1
    if "eval_in/inputs" in arrays:
        _check_batch(arrays, "eval_in", run, None if rows is None else len(rows))
    if f"after/{PREFIX}embed_tokens.embedding_weight" in arrays:
        for prefix in ("after", "ema"):
            _check_state(arrays, prefix, theirs)
    unknown = [f"cfg.{key}" for key in cfg if key not in {*NEEDED, *FIXED, *OTHERS}]
    unknown += [f"optim.{key}" for key in optim if key not in OPTIM]
    return Reference(name, arrays, run, dtype, steps, tuple(unknown))


def _options(arrays: Arrays, key: str) -> dict[str, Any]:
    try:
        options = json.loads(str(arrays[key]))
    except (ValueError, RecursionError) as error:
        raise BadReference(f"{key}: not JSON ({str(error)[:100]})") from None
    if not isinstance(options, dict):
        raise BadReference(f"{key}: {type(options).__name__} found, expected options by name")
    return options


def _tensors(arrays: Arrays, prefix: str, dtype: torch.dtype) -> dict[str, Tensor]:
    start = f"{prefix}/"
    found = {}
    for key in arrays:
        if key.startswith(start):
            if arrays[key].dtype.kind != "f" or not np.isfinite(arrays[key]).all():
                raise BadReference(f"{key}: expected finite numbers with a fraction, found {arrays[key].dtype}")
            found[key.removeprefix(start)] = torch.from_numpy(arrays[key].copy()).to(dtype)
    return found


def _settings(cfg: Mapping[str, Any], optim: Mapping[str, Any], theirs: Mapping[str, Tensor]) -> RunConfig:
    """Our settings for a reference. Raises BadReference, BadStateDict, BadSetting."""
    if lacking := [f"cfg.{key}" for key in NEEDED if key not in cfg]:
        raise BadReference(f"lacks {', '.join(lacking)}")
    for key, ours in FIXED.items():
        if cfg.get(key, ours) != ours:
            raise BadReference(f"cfg.{key}={cfg[key]}: {ours} is the only one here")
    if cfg.get("halt_exploration_prob"):
        raise BadReference(
            f"cfg.halt_exploration_prob={cfg['halt_exploration_prob']}: what was drawn is not in the file; expected 0"
        )
    model = dict(told_by(theirs)["model"])
    one_vector = model["networks"] == "separate" or model["features"] == "y"
    positions, prefix = cfg.get("pos_encodings", "rope"), _prefix(cfg, one_vector=one_vector)
    told = {
        "hidden_size": (cfg["hidden_size"], model["D"]),
        "mlp_t": (bool(cfg.get("mlp_t", False)), model["mixer"] == "mlp"),
        "pos_encodings": (positions == "learned", model["positions"] == "learned"),
        "puzzle_emb_ndim": (bool(prefix), model.pop("puzzle_prefix", None) is None),
    }
    if model["features"] == "multi-scale z":
        told["L_cycles"] = (cfg["L_cycles"], model["n"])
    if contradicted := [key for key, (said, seen) in told.items() if said != seen]:
        raise BadReference(f"cfg.{contradicted[0]}={cfg.get(contradicted[0])} contradicts the tensors under sd/")
    if model["mixer"] == "attention" and positions not in ("rope", "learned"):
        raise BadReference(f"cfg.pos_encodings={positions}: self-attention has rope or learned positions here")
    D, heads = model["D"], cfg["num_heads"]
    if isinstance(heads, int) and heads > 0 and D % heads:
        model["head_channels"] = D // heads  # the released code rounds down
    if model["features"] != "y":
        model |= {"T": cfg["H_cycles"], "n": cfg["L_cycles"]}
    separate = model["networks"] == "separate"
    continues = separate or not cfg.get("no_ACT_continue", True)  # HRM's loss has no switch
    run = RunConfig.parse(
        {
            "model": model
            | {
                "n_heads": heads,
                "N_sup": cfg["halt_max_steps"],
                "expansion": cfg.get("expansion", 4),
                "puzzle_prefix": prefix,
                "exploration": 0.0,
                "gradient": "one step" if separate else "full recursion",
                "halting": "q_learning" if continues else "bce",
            },
            "optim": {**optim, "ema_covers": "network"},
            "train": {"batch_size": cfg["batch_size"], "precision": "fp32"},
        }
    )
    if run.model.depth > MOST_DEPTH:
        raise BadReference(f"cfg.H_cycles, cfg.L_cycles: a depth of {run.model.depth}; expected {MOST_DEPTH} or less")
    if not all(isinstance(cfg[key], int) and 0 < cfg[key] < 1 << 20 for key in ("seq_len", "vocab_size")):
        raise BadReference(f"cfg.seq_len={cfg['seq_len']}, cfg.vocab_size={cfg['vocab_size']}: expected counts")
    return run.model_copy(update={"data": ReferenceData(n_cells=cfg["seq_len"], n_tokens=cfg["vocab_size"])})


def _prefix(cfg: Mapping[str, Any], *, one_vector: bool) -> int:
    """Positions of the puzzle embedding: as many as cfg.puzzle_emb_len says, else as its channels fill.

    one_vector: HRM and direct prediction, which never read puzzle_emb_len.
    """
    channels, D = cfg.get("puzzle_emb_ndim", 0), cfg["hidden_size"]
    length = 0 if one_vector else cfg.get("puzzle_emb_len", 0)
    if not all(isinstance(value, int) for value in (channels, D, length)) or D < 1:
        raise BadReference(f"cfg.puzzle_emb_ndim={channels}, cfg.puzzle_emb_len={length}: expected counts")
    if channels not in (0, D):
        raise BadReference(f"cfg.puzzle_emb_ndim={channels}: a puzzle's vector has cfg.hidden_size={D} channels here")
    if not channels and length:
        raise BadReference(f"cfg.puzzle_emb_len={length} without a puzzle embedding (cfg.puzzle_emb_ndim=0)")
    return int(length or bool(channels))


def _check_batch(arrays: Arrays, prefix: str, run: RunConfig, rows: int | None) -> None:
    """Raises BadReference for a batch of another shape, or with tokens and identifiers that do not exist."""
    B, V = run.train.batch_size, run.data.vocabulary
    bounds = {
        "inputs": ((B, run.data.cells), V),
        "labels": ((B, run.data.cells), V),
        "puzzle_identifiers": ((B,), rows or 1 << 62),
    }
    for name, (shape, below) in bounds.items():
        key = f"{prefix}/{name}"
        if key not in arrays:
            raise BadReference(f"lacks {key}")
        array = arrays[key]
        if array.shape != shape or array.dtype.kind not in "iu":
            raise BadReference(f"{key}: {array.dtype} {list(array.shape)}, expected integers {list(shape)}")
        counts = array[array != IGNORE] if name == "labels" else array
        if counts.size and (counts.min() < 0 or counts.max() >= below):
            raise BadReference(f"{key}: {counts.min()} to {counts.max()}, expected 0 to {below - 1}")


def _check_state(arrays: Arrays, prefix: str, theirs: Mapping[str, Tensor]) -> None:
    """Raises BadReference for a state of other shapes than the initial one."""
    for name, tensor in theirs.items():
        key = f"{prefix}/{name}"
        if key in arrays and arrays[key].shape != tuple(tensor.shape):
            raise BadReference(f"{key}: {list(arrays[key].shape)}, expected {list(tensor.shape)} as under sd/")
