"""State dicts that others have saved: opened without running anything in them, unwrapped, under their plain names.

A released checkpoint is a state_dict, alone or in one of the wrappers below, and its names may carry what
torch.compile, DistributedDataParallel or a wrapper of somebody's own put before them.
"""

from __future__ import annotations

import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from data_prep.files import check_regular

PREFIX = "model.inner."  # the loss head's model, its inner part
COMPILED = "_orig_mod."  # what torch.compile puts before it
WRAPPERS = ("model", "model_state_dict", "state_dict", "module")  # under which a checkpoint keeps its state_dict
AVERAGED = "ema_helper"  # under which it keeps the EMA of the parameters, where it keeps both
NAME_PARTS = ("_orig_mod", "module")  # in a name, of no meaning
OURS = re.compile(r"(H_level|L_level|embed_tokens|embed_pos|puzzle_emb|lm_head|q_head|rotary_emb)\.|[HL]\d*_init$")
# What a state_dict may hold beside the weights, since some version made it persistent: tables and scratch space.
PASSED_OVER = re.compile(r"(^|\.)(rotary_emb|rotary)\.|\.(inv_freq|cos_cached|sin_cached|local_weights|local_ids)$")

# What the two readers raise on damaged files, found by damaging some 10,000 at random.
UNREADABLE = (
    OSError, EOFError, RuntimeError, ValueError, LookupError, AttributeError, TypeError, AssertionError, struct.error,
    ArithmeticError, MemoryError, SafetensorError, zipfile.BadZipFile,
)  # fmt: skip


class BadStateDict(ValueError):
    """A file that is no checkpoint of the released trainer, or one with missing, surplus or misshapen tensors."""


class StateDict(NamedTuple):
    """Tensors by their plain names, with PREFIX, and what was passed over or chosen, a few words each."""

    tensors: dict[str, Tensor]
    notes: tuple[str, ...]


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors of open_state_dict."""
    return open_state_dict(path).tensors


def open_state_dict(path: Path) -> StateDict:
    """A state_dict written by torch.save, alone or wrapped, or a .safetensors file. Raises BadStateDict."""
    content, notes = _content(path), []
    averaged: Mapping[Any, Any] = {}
    for _ in range(3):  # {"state_dict": {"model": …}} has been seen
        inner = [name for name in WRAPPERS if isinstance(content, dict) and isinstance(content.get(name), dict)]
        if not inner:
            break
        if isinstance(content.get(AVERAGED), dict):
            averaged = content[AVERAGED]
        content = content[inner[0]]
    if not isinstance(content, dict) or not content:
        raise BadStateDict(f"{path}: {type(content).__name__} found, expected a mapping of names to tensors")
    tensors, passed_over = _plain(path, content)
    if averaged:
        tensors |= {name: tensor for name, tensor in _plain(path, averaged)[0].items() if name in tensors}
        notes.append(f"the averaged weights of {AVERAGED} are taken, not the trained ones")
    size, in_memory = path.stat().st_size, sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if in_memory > size:
        raise BadStateDict(
            f"{path}: {in_memory:,} bytes of tensors in a file of {size:,} bytes, expected no more than it holds; ask"
            " for a file whose tensors are saved whole"
        )
    if passed_over:
        notes.append(f"passed over, no weights: {', '.join(passed_over)}")
    return StateDict(tensors, tuple(notes))


def _content(path: Path) -> Any:
    """What the file holds, no code in it run, nothing in it unpacked to more than the file's own size."""
    try:
        if check_regular(path).suffix == ".safetensors":
            return load_file(path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
            unpacked, size = sum(entry.file_size for entry in entries), path.stat().st_size
            if unpacked > size or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise BadStateDict(
                    f"{path}: a zip file of {size:,} bytes that unpacks to {unpacked:,}, expected what torch.save"
                    " writes, which packs nothing; ask for a file written by it, or for safetensors"
                )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols: what cannot be read is refused below
            return torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise BadStateDict(f"{path}: no such file; expected a state_dict of the released trainer") from None
    except BadStateDict:
        raise
    except pickle.UnpicklingError as error:
        raise BadStateDict(
            f"{path}: not opened, it holds more than tensors and would have to run code"
            f" ({first_sentence(error)}); ask for a file with the state_dict alone, or for safetensors"
        ) from None
    except UNREADABLE as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else first_sentence(error)
        raise BadStateDict(
            f"{path}: torn, or not written by torch.save or safetensors ({why}); copy it again"
        ) from None


def _plain(path: Path, content: Mapping[Any, Any]) -> tuple[dict[str, Tensor], list[str]]:
    """The weights among what a state_dict holds, under their plain names, and the names of what else it holds."""
    tensors: dict[str, Tensor] = {}
    passed_over, strangers = [], []
    for name, value in content.items():
        plain = _plain_name(str(name))
        if isinstance(value, Tensor) and (PASSED_OVER.search(plain) or _counts_beside(plain, value)):
            passed_over.append(plain.removeprefix(PREFIX)[:60])
        elif not _is_plain(value):
            strangers.append(f"{str(name)[:60]}: {type(value).__name__}")
        elif plain in tensors:
            raise BadStateDict(
                f"{path}: two tensors are called {plain[:60]} but for wrappers, expected one; leave one out"
            )
        else:
            tensors[plain] = value
    if strangers:
        shown = "; ".join(strangers[:3]) + (f" and {len(strangers) - 3} more" if len(strangers) > 3 else "")
        raise BadStateDict(f"{path}: expected plain tensors of numbers with a fraction; found {shown}")
    return tensors, passed_over


def _is_plain(value: Any) -> bool:
    is_whole = isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"
    return is_whole and value.is_floating_point()


def _counts_beside(name: str, value: Tensor) -> bool:
    """Whether a tensor of whole numbers stands under a name that is no weight's: a counter, a list of identifiers."""
    is_whole = not (value.is_floating_point() or value.is_complex())
    return is_whole and OURS.match(name.removeprefix(PREFIX)) is None


def _plain_name(name: str) -> str:
    """A name without what wrappers put into it; the loss head's `model.` and the model's `inner.` before it."""
    name = ".".join(part for part in name.split(".") if part not in NAME_PARTS)
    known = name.removeprefix("model.").removeprefix("inner.")
    return PREFIX + known if OURS.match(known) else name


def first_sentence(error: Exception) -> str:
    """What an error of a library says, in a line that is not too long."""
    return " ".join(str(error).split()).split(". ")[0][:200] or type(error).__name__
