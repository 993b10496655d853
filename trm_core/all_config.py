"""all_config.yaml, which the released trainers (TRM's and HRM's) lay beside their checkpoints: settings that the
tensors cannot tell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_prep.files import read_text
from trm_core.settings import BadSetting

FILE = "all_config.yaml"
MOST_BYTES = 1 << 20
NEXT = f"move {FILE} away and say what is needed by --set"


def settings_beside(path: Path, told: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """By section, what the file beside a checkpoint says of a run; {} where there is none.

    told: by section, what the checkpoint's tensors tell; that is left out. Raises BadSetting where the file cannot be
    read or is of another checkpoint.
    """
    beside = path.with_name(FILE)
    try:
        text = read_text(beside, MOST_BYTES)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise BadSetting(
            f"{beside}: cannot be read ({why}), expected the released trainer's settings; {NEXT}"
        ) from None
    arch, content = _arch(beside, text)
    width, tensors = arch.get("hidden_size"), told["model"]["D"]
    if width is not None and width != tensors:
        raise BadSetting(f"{beside}: hidden_size {str(width)[:30]}, but the tensors are {tensors} wide; {NEXT}")
    model = _model(arch)
    if told["model"]["mixer"] == "mlp":  # whose width is that of all positions
        model.pop("puzzle_prefix", None)
    found = {"model": model, "train": _precision(arch), "data": _puzzle(content)}
    return {
        section: {name: value for name, value in fields.items() if name not in told.get(section, {})}
        for section, fields in found.items()
    }


def _arch(path: Path, text: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """(the section of the model, the whole file)."""
    import yaml

    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        why = " ".join(str(error).split())[:120]
        raise BadSetting(f"{path}: no YAML of plain values ({why}); {NEXT}") from None
    arch = content.get("arch") if isinstance(content, Mapping) else None
    if not isinstance(arch, Mapping) or not isinstance(arch.get("name"), str):
        raise BadSetting(f"{path}: no arch with a name, expected the released trainer's settings; {NEXT}")
    return arch, content


def _model(arch: Mapping[str, Any]) -> dict[str, Any]:
    """Model settings; those that are none of a run's are left to RunConfig to refuse."""
    is_hrm = "hrm" in arch["name"].lower()
    names = {"T": "H_cycles", "n": "L_cycles", "N_sup": "halt_max_steps", "n_heads": "num_heads"}
    names |= {"expansion": "expansion", "exploration": "halt_exploration_prob"}
    model = {ours: arch[theirs] for ours, theirs in names.items() if arch.get(theirs) is not None}
    model["gradient"] = "one step" if is_hrm else "full recursion"
    without_continue = arch.get("no_ACT_continue", not is_hrm)
    model["halting"] = "bce" if without_continue is True else "q_learning"
    loss = arch.get("loss")
    kind = loss.get("loss_type") if isinstance(loss, Mapping) else None
    if kind in ("stablemax_cross_entropy", "softmax_cross_entropy"):
        model["loss"] = str(kind).removesuffix("_cross_entropy")
    length, rows, width = (arch.get(name) for name in ("puzzle_emb_len", "puzzle_emb_ndim", "hidden_size"))
    if isinstance(length, int) and length > 0:
        model["puzzle_prefix"] = length
    elif isinstance(rows, int) and isinstance(width, int) and width > 0:
        model["puzzle_prefix"] = -(-rows // width)
    return model


def _precision(arch: Mapping[str, Any]) -> dict[str, Any]:
    dtypes = {"bfloat16": "bf16", "float32": "fp32"}
    found = dtypes.get(str(arch.get("forward_dtype")))
    return {} if found is None else {"precision": found}


def _puzzle(content: Mapping[str, Any]) -> dict[str, Any]:
    """The puzzle, by the folder of its data (TRM: data_paths, HRM: data_path)."""
    paths = content.get("data_paths", content.get("data_path"))
    first = paths[0] if isinstance(paths, list) and paths else paths
    folder = Path(first).name.lower() if isinstance(first, str) else ""
    return next(({"puzzle": puzzle} for puzzle in ("sudoku", "maze", "arc") if folder.startswith(puzzle)), {})
