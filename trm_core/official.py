"""The released code's checkpoints, in and out (SamsungSAILMontreal/TinyRecursiveModels).

    python -m trm_core.official import STATE_DICT OUT --set model.T=3 …
    python -m trm_core.official export CHECKPOINT OUT_FILE

Its trainer saves nothing but a state_dict, of the EMA weights where there is an EMA. Tensors keep their dtype on the
way in and out (y_init and z_init are bfloat16 there), so that a round trip gives the same bits.

Theirs                                          ours
model.inner.H_init, L_init (L1_init, …)         initial [features, D]
model.inner.embed_tokens.embedding_weight       embed_tokens
model.inner.embed_pos.embedding_weight          embed_positions, where positions are learnt
model.inner.puzzle_emb.weights                  puzzle_embedding.weights
model.inner.L_level (single and multi-scale z)  f_z
model.inner.H_level, in HRM                     f_y_apart
model.inner.H_level, in direct prediction       f_z
model.inner.lm_head, q_head                     output_head, halting_head
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data_prep.files import read_json, whole
from data_prep.places import local_path
from trm_core import checkpoint as checkpoints_of
from trm_core.all_config import settings_beside
from trm_core.checkpoint import BadCheckpoint, Checkpoint
from trm_core.command_line import Parser, answered
from trm_core.config import RunConfig
from trm_core.settings import BadSetting, ModelSettings
from trm_core.settings_as_text import assigned, setting_text
from trm_core.state_dicts import COMPILED, first_sentence, open_state_dict
from trm_core.state_dicts import PREFIX as PREFIX
from trm_core.state_dicts import BadStateDict as BadStateDict
from trm_core.state_dicts import read_state_dict as read_state_dict


def initial_names(model: ModelSettings) -> tuple[str, ...]:
    """Their names of the rows of our `initial`, in order."""
    return {
        "y,z": ("H_init", "L_init"),
        "single z": ("L_init",),
        "multi-scale z": ("H_init", *(f"L{i + 1}_init" for i in range(model.n))),
        "y": ("H_init",),
    }[model.features]


def tensor_names(model: ModelSettings) -> dict[str, str]:
    """Our name → theirs, of every tensor but `initial`; without the prefix."""
    names = {"embed_tokens": "embed_tokens.embedding_weight"}
    if model.positions == "learned":
        names["embed_positions"] = "embed_pos.embedding_weight"
    if model.puzzle_prefix:
        names["puzzle_embedding.weights"] = "puzzle_emb.weights"
    networks = {"f_z": "H_level" if model.features == "y" else "L_level"}
    if model.networks == "separate":
        networks["f_y_apart"] = "H_level"
    parts = {"mlp.gate_up": "mlp.gate_up_proj", "mlp.down": "mlp.down_proj"}
    if model.mixer == "attention":
        parts |= {"mix.qkv": "self_attn.qkv_proj", "mix.out": "self_attn.o_proj"}
    else:
        parts |= {"mix.gate_up": "mlp_t.gate_up_proj", "mix.down": "mlp_t.down_proj"}
    for ours, theirs in networks.items():
        for layer in range(model.n_layers):
            for our_part, their_part in parts.items():
                names[f"{ours}.layers.{layer}.{our_part}.weight"] = f"{theirs}.layers.{layer}.{their_part}.weight"
    names["output_head.weight"] = "lm_head.weight"
    names["halting_head.weight"] = "q_head.weight"
    names["halting_head.bias"] = "q_head.bias"
    return names


def to_ours(theirs: Mapping[str, Tensor], model: ModelSettings) -> dict[str, Tensor]:
    """Their tensors under our names. theirs: names with PREFIX."""
    ours = {our: theirs[PREFIX + their] for our, their in tensor_names(model).items()}
    return ours | {"initial": torch.stack([theirs[PREFIX + name] for name in initial_names(model)])}


def to_theirs(ours: Mapping[str, Tensor], model: ModelSettings) -> dict[str, Tensor]:
    """Our tensors under their names, with PREFIX."""
    theirs = {PREFIX + their: ours[our] for our, their in tensor_names(model).items()}
    initial = dict(zip(initial_names(model), ours["initial"], strict=True))
    return {PREFIX + name: row for name, row in initial.items()} | theirs


class SettingsNeeded(ValueError):
    """Settings that the tensors do not tell and nobody gave."""


class CannotExport(ValueError):
    """A model that the released code does not have, or a file that cannot be written."""


EXAMPLE = '{"model": {"T": 3, "n": 6}}'
Given = Mapping[str, Mapping[str, Any]]  # settings by section, {"model": {"T": 3}}

WHAT_TO_GIVE = {  # what the tensors may leave open: the released configuration's name for it, or the choice
    "data.puzzle": "sudoku, maze or arc",
    "data.box_rows": "of a Sudoku's box",
    "data.box_cols": "of a Sudoku's box",
    "model.T": "H_cycles",
    "model.n": "L_cycles",
    "model.N_sup": "halt_max_steps",
    "model.n_heads": "num_heads",
    "model.puzzle_prefix": "puzzle_emb_len",
    "model.gradient": "full recursion, or one step as in HRM",
    "model.halting": "bce where no_ACT_continue, else q_learning",
    "train.precision": "bf16 or fp32: forward_dtype",
}
SUDOKU_BOXES = [(r, c) for r in range(2, 7) for c in range(2, 7) if r * c <= 12]
PUZZLES: list[dict[str, Any]] = [  # every puzzle of ours, as data settings
    {"puzzle": "maze"},
    {"puzzle": "arc"},
    *({"puzzle": "sudoku", "box_rows": rows, "box_cols": cols} for rows, cols in SUDOKU_BOXES),
]


# --- what the tensors tell --------------------------------------------------------------------------------------------


def settings_of(theirs: Mapping[str, Tensor], given: Given) -> RunConfig:
    """The run behind their tensors: what those determine, and for the rest what is given.

    What only training reads (optimiser, losses, steps) is as given or the default.
    Raises BadStateDict where there is no model to be seen in the names, SettingsNeeded with every setting that is
    missing, BadSetting where given settings contradict the tensors or one another.
    """
    told = told_by(theirs)
    model = told["model"]
    model |= _heads(theirs, model, given.get("model", {}).get("n_heads"))
    wanted = {"model.T", "model.n", "model.N_sup", "model.halting", "train.precision"}
    wanted |= {"model.n_heads", "model.puzzle_prefix"} if model["mixer"] == "attention" else set()
    wanted |= {"model.gradient"} if model["features"] == "y,z" else set()
    given_names = {f"{section}.{field}" for section, fields in given.items() for field in fields}

    fitting = _puzzles_that_fit(theirs, model, given.get("data", {}))
    if len(fitting) == 1:
        told["data"] = fitting[0]
    elif len({puzzle["puzzle"] for puzzle in fitting}) > 1:
        wanted.add("data.puzzle")
    else:
        wanted |= {"data.box_rows", "data.box_cols"}
    told_names = {f"{section}.{field}" for section, fields in told.items() for field in fields}
    missing = [name for name in WHAT_TO_GIVE if name in wanted - told_names - given_names]
    if len(fitting) == 1 and model["mixer"] == "mlp":
        model["puzzle_prefix"] = _positions(theirs) - RunConfig.parse({"data": fitting[0]}).data.cells

    clashes = [
        f"{section}.{field}={given[section][field]} given, {value} by the tensors"
        for section, fields in told.items()
        for field, value in fields.items()
        if field in given.get(section, {}) and given[section][field] != value
    ]
    if clashes:
        raise BadSetting(f"{'; '.join(clashes)}; leave these out")
    if missing:
        raise SettingsNeeded(
            "the tensors do not tell "
            + ", ".join(f"{name} ({WHAT_TO_GIVE[name]})" for name in missing)
            + f"; add {' '.join(f'--set {name}=…' for name in missing)}, or --settings FILE.json with the whole run"
        )
    sections = {*given, *told}
    return RunConfig.parse({section: {**given.get(section, {}), **told.get(section, {})} for section in sections})


def told_by(theirs: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    """The model settings that names and shapes determine on their own."""
    names = {name.removeprefix(PREFIX) for name in theirs if name.startswith(PREFIX)}
    layers: dict[str, set[str]] = {}
    for name in names:
        if match := re.match(r"(H_level|L_level)\.layers\.(\d+)\.", name):
            layers.setdefault(match[1], set()).add(match[2])
    if not layers:
        raise BadStateDict(
            f"no {PREFIX}L_level.layers.… or {PREFIX}H_level.layers.… among its {len(theirs)} tensors"
            f" ({', '.join(sorted(theirs)[:3])}, …); expected a state_dict of the released trainer"
        )
    several_z = [name for name in names if re.fullmatch(r"L\d+_init", name)]
    features = "y,z"
    if set(layers) == {"H_level"}:
        features = "y"
    elif several_z:
        features = "multi-scale z"
    elif set(layers) == {"L_level"} and "H_init" not in names:
        features = "single z"
    model = {
        "mixer": "mlp" if any(".mlp_t." in name for name in names) else "attention",
        "networks": "separate" if len(layers) == 2 else "one",
        "features": features,
        "n_layers": max(map(len, layers.values())),
        "D": _tokens_and_width(theirs)[1],
        "channel_mlp": "swiglu",
        "output_head": "own",
        "positions": "learned" if "embed_pos.embedding_weight" in names else "rope",
    }
    if features != "y,z":
        model["gradient"] = "full recursion"
    if features == "y":
        model |= {"T": 1, "n": 0}
    if several_z:
        model["n"] = len(several_z)
    if f"{PREFIX}puzzle_emb.weights" not in theirs:
        model["puzzle_prefix"] = 0
    return {"model": model}


def _heads(theirs: Mapping[str, Tensor], model: Mapping[str, Any], n_heads: object) -> dict[str, int]:
    """The channels of a head, where so many heads have not D channels together: 12 of 42 in direct prediction."""
    qkv = next((theirs[name] for name in sorted(theirs) if name.endswith(".self_attn.qkv_proj.weight")), None)
    if qkv is None or not isinstance(n_heads, int) or n_heads < 1 or qkv.shape[0] in (0, 3 * model["D"]):
        return {}
    if qkv.shape[0] % (3 * n_heads):
        raise BadSetting(
            f"model.n_heads={n_heads} given, but the {qkv.shape[0]} rows of qkv_proj are not q, k and v of so many"
            " heads; give the number that the model has (num_heads)"
        )
    return {"head_channels": qkv.shape[0] // (3 * n_heads)}


def _tokens_and_width(theirs: Mapping[str, Tensor]) -> tuple[int, int]:
    """(V, D), by the token embedding or, failing that, the output head."""
    for name in ("embed_tokens.embedding_weight", "lm_head.weight"):
        tensor = theirs.get(PREFIX + name)
        if tensor is not None and tensor.dim() == 2:
            return tensor.shape[0], tensor.shape[1]
    raise BadStateDict(
        f"{PREFIX}embed_tokens.embedding_weight and {PREFIX}lm_head.weight: missing or not [V, D]; without them"
        " neither the tokens nor the width are known"
    )


def _positions(theirs: Mapping[str, Tensor]) -> int:
    """Cells and puzzle prefix together, by the MLP mixer's width."""
    for name in sorted(theirs):
        if name.endswith(".mlp_t.down_proj.weight") and theirs[name].dim() == 2:
            return theirs[name].shape[0]
    raise BadStateDict("no mlp_t.down_proj.weight of [positions, inner] in any layer; the mixer is torn")


def _puzzles_that_fit(
    theirs: Mapping[str, Tensor], model: Mapping[str, Any], given: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The puzzles of that vocabulary, and with the MLP mixer of so many cells, that do not contradict what is given."""
    vocabulary = _tokens_and_width(theirs)[0]
    positions = _positions(theirs) if model["mixer"] == "mlp" else None
    of_vocabulary = []
    for puzzle in PUZZLES:
        data = RunConfig.parse({"data": puzzle}).data
        prefix = None if positions is None else positions - data.cells
        if data.vocabulary == vocabulary and (
            prefix is None
            # none where there is no puzzle embedding; and a prefix is never longer than its puzzle
            or (prefix == 0 if model.get("puzzle_prefix") == 0 else 1 <= prefix <= data.cells)
        ):
            of_vocabulary.append(puzzle)
    seen = f"{vocabulary} tokens" + ("" if positions is None else f" and {positions} positions")
    if not of_vocabulary:
        lacks = f" without {PREFIX}puzzle_emb.weights" if model.get("puzzle_prefix") == 0 else ""
        raise BadStateDict(
            f"{seen}{lacks}: no puzzle of ours; those are Sudoku up to 12x12 (its side + 2 tokens), mazes (6) and"
            " ARC (12), behind a prefix no longer than the puzzle, or none without a puzzle embedding"
        )
    fitting = [
        puzzle for puzzle in of_vocabulary if all(given.get(key, value) == value for key, value in puzzle.items())
    ]
    if not fitting:
        raise BadSetting(
            f"{', '.join(f'data.{key}={given[key]}' for key in ('puzzle', 'box_rows', 'box_cols') if key in given)}"
            f" given, but {seen} mean {' or '.join(' '.join(map(str, puzzle.values())) for puzzle in of_vocabulary)}"
        )
    return fitting


# --- whether they are whole -------------------------------------------------------------------------------------------


def expected_shapes(run: RunConfig, n_puzzle_ids: int) -> dict[str, tuple[int, ...]]:
    """Every tensor that their state_dict of this run holds, with PREFIX, and its shape."""
    m, V = run.model, run.data.vocabulary
    inner, mixer_inner = m.inner_width(m.D), m.inner_width(run.sequence)
    by_part = {
        "embed_tokens": (V, m.D),
        "embed_positions": (run.sequence, m.D),
        "puzzle_embedding.weights": (n_puzzle_ids, m.D),
        "output_head.weight": (V, m.D),
        "halting_head.weight": (2, m.D),
        "halting_head.bias": (2,),
        "mlp.gate_up.weight": (2 * inner, m.D),
        "mlp.down.weight": (m.D, inner),
        "mix.qkv.weight": (3 * m.attention_width, m.D),
        "mix.out.weight": (m.D, m.attention_width),
        "mix.gate_up.weight": (2 * mixer_inner, run.sequence),
        "mix.down.weight": (run.sequence, mixer_inner),
    }
    shapes: dict[str, tuple[int, ...]] = {PREFIX + name: (m.D,) for name in initial_names(m)}
    for ours, theirs in tensor_names(m).items():
        shapes[PREFIX + theirs] = by_part[re.sub(r"^f_\w+\.layers\.\d+\.", "", ours)]
    return shapes


def check(theirs: Mapping[str, Tensor], run: RunConfig) -> None:
    """Raises BadStateDict with each missing, surplus and misshapen tensor; BadSetting if all have another SwiGLU."""
    m = run.model
    for part, width in (("mlp", m.D), ("mlp_t", run.sequence)):
        found = {
            t.shape[1] for name, t in theirs.items() if name.endswith(f".{part}.down_proj.weight") and t.dim() == 2
        }
        if len(found) == 1 and found != {m.inner_width(width)}:
            raise BadSetting(
                f"{part} is {found.pop()} wide inside, but model.expansion={m.expansion} and"
                f" model.inner_multiple={m.inner_multiple} mean {m.inner_width(width)} for a width of {width};"
                " set those two"
            )
    rows = theirs.get(f"{PREFIX}puzzle_emb.weights")
    expected = expected_shapes(run, rows.shape[0] if rows is not None and rows.dim() else 1)
    offences = [f"{name}: missing, expected {list(shape)}" for name, shape in expected.items() if name not in theirs]
    offences += [f"{name}: surplus, {list(t.shape)}" for name, t in theirs.items() if name not in expected]
    offences += [
        f"{name}: {list(theirs[name].shape)}, expected {list(shape)}"
        for name, shape in expected.items()
        if name in theirs and theirs[name].shape != shape
    ]
    initial = {PREFIX + name for name in initial_names(m)} & theirs.keys()
    if len({theirs[name].dtype for name in initial}) > 1:
        offences.append(f"{', '.join(sorted(initial))}: of different dtypes, expected one")
    if offences:
        raise BadStateDict(f"{len(offences)} tensors are wrong: {'; '.join(offences)}")


# --- in and out -------------------------------------------------------------------------------------------------------


def import_state_dict(
    path: Path, out: Path, given: Given, say: Callable[[str], None] = lambda _: None
) -> tuple[Path, RunConfig]:
    """Write their checkpoint as one of ours below out, weights only; (its folder, its settings).

    What the tensors do not tell is as given, else as all_config.yaml beside the file says. The step is the one in the
    file's name (step_65104), else 0. say: takes what was understood, a line each. Raises BadStateDict, SettingsNeeded,
    BadSetting, BadCheckpoint where out holds something, CheckpointNotWritten.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadCheckpoint(f"{out}: exists and is not an empty folder; choose another")
    theirs, notes = open_state_dict(path)
    for note in notes:
        say(f"{path.name}: {note}")
    try:
        beside = settings_beside(path, told_by(theirs))
        run = settings_of(
            theirs, {name: {**beside.get(name, {}), **given.get(name, {})} for name in {**beside, **given}}
        )
        check(theirs, run)
    except BadStateDict as error:
        raise BadStateDict(f"{path}: {error}") from None
    except OverflowError:
        raise BadSetting(f"{path}: model.expansion of that size gives no width; set it to the released 4") from None
    read = [
        f"{section}.{name}={setting_text(value)}"
        for section, fields in beside.items()
        for name, value in fields.items()
        if name not in given.get(section, {})
    ]
    if read:
        say(f"all_config.yaml: {', '.join(read)}")
    match = re.match(r"step_(\d{1,12})(\.|$)", path.name)
    step = int(match[1]) if match else 0
    weights = to_ours(theirs, run.model)
    return checkpoints_of.save(Checkpoint(step, run.model_dump(mode="json"), "", weights, {}), out), run


def export_checkpoint(path: Path, out: Path, *, compiled: bool = False, raw: bool = False) -> None:
    """Write a checkpoint of ours as their state_dict: a torch.save'd dict of tensors.

    compiled: names as under torch.compile. raw: the weights that are trained instead of those evaluated (EMA).
    Raises BadCheckpoint, CannotExport.
    """
    saved = checkpoints_of.open_at(path)
    m = checkpoints_of.run_of(saved).model
    if m.channel_mlp != "swiglu" or m.output_head != "own":
        raise CannotExport(
            f'{path}: model.channel_mlp="{m.channel_mlp}", model.output_head="{m.output_head}"; the released code has'
            ' only "swiglu" and "own"'
        )
    other_heads = m.mixer == "attention" and m.channels_of_a_head != m.D // m.n_heads
    if m.single_z != "released code" or other_heads:
        raise CannotExport(
            f'{path}: model.single_z="{m.single_z}", {m.n_heads} heads of {m.channels_of_a_head} channels; the released'
            f' code has only "released code" and, of {m.D} channels, heads of {m.D // m.n_heads}'
        )
    if raw and saved.weights_only:
        raise CannotExport(f"{path}: has no raw weights, it was imported or its run has ended; leave --raw out")
    ours = saved.weights
    if raw:
        ours = {name.removeprefix("model/"): t for name, t in saved.training.items() if name.startswith("model/")}
    lacking = {*tensor_names(m), "initial"} - ours.keys()
    if lacking:
        raise BadCheckpoint(f"{path}: lacks {', '.join(sorted(lacking))}, which its settings call for")
    if out.exists():
        raise CannotExport(f"{out}: exists; choose another name")
    prefix = COMPILED if compiled else ""
    # clones: a row of `initial` alone would be saved with the whole storage it lies in
    theirs = {prefix + name: tensor.clone() for name, tensor in to_theirs(ours, m).items()}
    try:
        with whole(out) as new:
            torch.save(theirs, new)
    except (OSError, RuntimeError) as error:
        raise CannotExport(f"{out}: not written ({first_sentence(error)}); choose another place") from error


# --- the command ------------------------------------------------------------------------------------------------------


def read_settings(path: Path) -> dict[str, dict[str, Any]]:
    """A RunConfig as nested JSON, whole or in part, or the checkpoint.json of one of ours. Raises BadSetting."""
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise BadSetting(f"{path}: cannot be read as JSON ({error}); expected settings such as {EXAMPLE}") from None
    if isinstance(content, dict):
        content = content.get("settings", content)
    if not isinstance(content, dict) or not all(isinstance(section, dict) for section in content.values()):
        raise BadSetting(f"{path}: expected settings by section, such as {EXAMPLE}")
    return content


def parser() -> Parser:
    """Every option of the command line."""
    top = Parser(prog="python -m trm_core.official", description="The released code's checkpoints.", allow_abbrev=False)
    commands = top.add_subparsers(dest="command", required=True, metavar="import|export")
    into = commands.add_parser("import", help="theirs to ours", allow_abbrev=False)
    into.add_argument(
        "state_dict", type=local_path, metavar="STATE_DICT", help="what their trainer saved, or .safetensors"
    )
    into.add_argument("out", type=local_path, metavar="OUT", help="a new folder, for a checkpoint of ours")
    into.add_argument(
        "--set",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="what the tensors do not tell: model.T=3",
    )
    into.add_argument(
        "--settings", type=local_path, metavar="FILE", help="a run's settings as JSON; --set goes before it"
    )
    out = commands.add_parser("export", help="ours to theirs", allow_abbrev=False)
    out.add_argument(
        "checkpoint",
        type=local_path,
        metavar="CHECKPOINT",
        help="a step_… folder, a folder of them (newest), or a run's",
    )
    out.add_argument("out_file", type=local_path, metavar="OUT_FILE")
    out.add_argument("--compiled", action="store_true", help="names as torch.compile makes them: _orig_mod.model.…")
    out.add_argument("--raw", action="store_true", help="the weights being trained (default: those evaluated, EMA)")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 after a user's mistake, told in one line on stderr."""
    return answered(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    options = parser().parse_args(arguments)
    if options.command == "export":
        export_checkpoint(options.checkpoint, options.out_file, compiled=options.compiled, raw=options.raw)
        print(options.out_file)
        return 0
    given = {} if options.settings is None else read_settings(options.settings)
    for section, fields in assigned(options.set).items():
        given[section] = {**given.get(section, {}), **fields}
    folder, run = import_state_dict(options.state_dict, options.out, given, say=print)
    m = run.model
    print(folder)
    print(
        f"{run.data.puzzle}, mixer {m.mixer}, networks {m.networks}, features {m.features}, T={m.T}, n={m.n},"
        f" N_sup={m.N_sup}, {m.n_layers} layers, D={m.D}, puzzle prefix {m.puzzle_prefix}:"
        f" {run.parameters():,} parameters"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
