"""The one door to torch.compile: whether a run is compiled, what of it, and where its code is kept.

On a CPU a deep recursion is one graph, unless it is a long one. Else, and on a GPU, a graph is a call of f_z or f_y
with the sum that goes into it: nearly all of the arithmetic too, and compiled in the same time whatever T and n are
(docs/performance.md). One graph serves what carries a gradient, one what does not, one the evaluated model; batches of
another size, the last of an evaluation, run as they are. Code is kept on disk between runs; of several runs of one
shape that begin together the first compiles and the others wait for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import sysconfig
import tempfile
import time
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from trm_core import fused
from trm_core.caches import own_folder
from trm_core.config import RunConfig
from trm_core.curriculum import Depth
from trm_core.layers import SwiGLU
from trm_core.model import Model
from trm_core.settings import BadSetting

# Operations of a run's training from which compiling pays on a CPU, some three minutes of a core's: it takes half a
# minute to a minute where nothing is kept yet, and saves two fifths of the time (docs/performance.md).
PAYS_FROM = 1e13
MOST_LAYERS = 64  # of a run's deep recursions; one of 168 takes five times as long to compile as a call of a network
COMPILERS = ("g++", "clang++", "c++")
OPERATIONS = [Path(__file__).with_name(name) for name in ("fused.py", "fused_kernel.py", "glu_kernel.py")]
ANOTHER_COMPILES_S = 900.0  # longer than any shape took; some file systems keep the lock of a machine that has died


def is_compiled(run: RunConfig, device: torch.device) -> bool:
    """train.compile; auto: on a GPU, and on a CPU with a C++ compiler where the run is long. Raises BadSetting."""
    asked = run.train.compile
    if asked == "off" or (asked == "auto" and device.type == "cpu" and run.train_work() < PAYS_FROM):
        return False
    lacking = what_is_lacking(device)
    if asked == "on" and lacking:
        raise BadSetting(f'train.compile="on": {lacking}, or set train.compile="auto"')
    return not lacking


def can_compile(device: torch.device) -> bool:
    """Whether what torch.compile needs is there."""
    return not what_is_lacking(device)


def what_is_lacking(device: torch.device) -> str:
    """What torch.compile needs and does not find, and what to do about it; "" where it can compile."""
    if device.type != "cpu":
        from torch.utils._triton import has_triton

        return "" if has_triton() else "torch.compile needs Triton on a GPU and finds none; install it"
    if "CXX" not in os.environ and not any(shutil.which(name) for name in COMPILERS):
        return (
            f"no C++ compiler ({', '.join(COMPILERS)}) is on the PATH here, and torch.compile needs one on a CPU;"
            " install one"
        )
    caches = _chosen_folder() or os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    for path in (torch.__path__[0], sysconfig.get_path("include"), os.environ.get("TMPDIR", ""), caches):
        if any(map(str.isspace, path)):
            return (
                f"torch.compile hands {path!r} to the C++ compiler as it is, which takes it for two; have the"
                " environment with torch, TMPDIR and TORCHINDUCTOR_CACHE_DIR where no path has a space"
            )
    return ""


def compile_model(
    model: Model, sizes: Collection[int], depths: Collection[Depth] = (), *, whole: bool | None = None
) -> None:
    """Compile a model in place for batches of these sizes: its deep recursions, or its networks.

    depths: of the recursions; none: the model's own alone. whole: the recursions, on any device; None: on a CPU, unless
    they are long. What cannot be compiled raises when first called.
    """
    _keep_code_here()
    torch._dynamo.config.recompile_limit = 64  # precisions, sizes and gradient modes share one code object
    m = model.settings
    depths = depths or [Depth(m.T, m.n)]
    if whole is None:
        layers = sum(depth.T * (depth.n + 1) * m.n_layers for depth in depths)
        whole = model.initial.device.type == "cpu" and layers <= MOST_LAYERS and not model.activation_checkpointing
    for module in model.modules():
        if isinstance(module, SwiGLU):
            module.fuses = fused.is_there()
    if whole:
        call = torch.compile(model.deep_recursion, fullgraph=True, dynamic=False)
        model.compiled_recursions |= dict.fromkeys(((depth, size) for depth in depths for size in sizes), call)
        return
    for network in {model.f_z, model.f_y}:
        of_network = torch.compile(network, fullgraph=True, dynamic=False)
        model.compiled_networks |= dict.fromkeys(((network, size) for size in sizes), of_network)


def compile_run(
    model: Model, evaluated: Model, run: RunConfig, device: torch.device, *, workers: int, whole: bool | None = None
) -> None:
    """Both models, and a step of training at each depth and one of evaluation in advance: no number moves by it.

    whole: as compile_model has it.
    """
    sizes = (run.train.batch_size // workers, run.train.batch_size)  # in training, at evaluation
    depths = list(dict.fromkeys(stretch.depth for stretch in run.stretches()))
    with one_at_a_time(shape_of(run, device)), _of_its_own_affairs():
        for each in {model, evaluated}:
            compile_model(each, sizes, depths, whole=whole)
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        for depth in depths:
            outputs = _on_nothing(model, sizes[0], depth)
            total = sum((output.sum() for output in outputs), torch.zeros((), device=device))
            torch.autograd.grad(total, weights, allow_unused=True)
            if run.model.halting == "q_learning":  # which looks one step ahead
                with torch.no_grad():
                    _on_nothing(model, sizes[0], depth)
        with torch.inference_mode():
            _on_nothing(evaluated, sizes[1])


@contextlib.contextmanager
def _of_its_own_affairs() -> Iterator[None]:
    """What torch's compiler warns of while it works, and nobody here can act on, is not said."""
    with warnings.catch_warnings():
        for words in (
            "TensorFloat32 tensor cores .* available but not enabled",  # float32 is meant to be that
            r".*torch\.jit\.script_method.* is deprecated",  # by an import of its own
            "The .grad attribute of a Tensor that is not a leaf",
        ):
            warnings.filterwarnings("ignore", message=words)
        yield


def _on_nothing(model: Model, B: int, depth: Depth | None = None) -> list[Tensor]:
    """What the model makes of B puzzles of which nothing is known."""
    inputs = torch.zeros(B, model.cells, dtype=torch.int64, device=model.initial.device)
    features, logits, q = model(inputs, model.puzzle_vectors(inputs[:, 0]), model.initial_features(B), depth)
    return [*features, logits, q]


@contextlib.contextmanager
def one_at_a_time(shape: str) -> Iterator[None]:
    """Inside, code is compiled that is kept under this name; another process that compiles the same waits outside."""
    folder = _keep_code_here()
    name = hashlib.sha256(shape.encode()).hexdigest()[:16]
    begun, alone = folder / f"{name}.begun", False
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # a folder of no locks: then two may compile the same, nothing worse
            file = held.enter_context((folder / f"{name}.lock").open("w"))
            until = time.monotonic() + ANOTHER_COMPILES_S
            while not (alone := _locked(file)) and time.monotonic() < until:
                time.sleep(0.2)
        if alone:
            _clear_up_after(begun, folder)
            begun.touch()
        yield
        if alone:
            begun.unlink(missing_ok=True)


def _clear_up_after(begun: Path, folder: Path) -> None:
    """Whoever compiled the same before was killed at it: libraries and headers of that time may be torn, torch would
    load them as they are, and what is not there it compiles again."""
    with contextlib.suppress(FileNotFoundError):
        since = begun.stat().st_mtime
        for file in (each for torn in ("*.so", "*.o", "*.gch", "*.pch") for each in folder.rglob(torn)):
            with contextlib.suppress(FileNotFoundError):
                if file.stat().st_mtime >= since:
                    file.unlink()


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def shape_of(run: RunConfig, device: torch.device) -> str:
    """What decides the code of a run: runs that differ in nothing of it share it."""
    model, train = run.model.model_dump(mode="json"), run.train
    shape = [run.sequence, train.batch_size, train.precision, train.activation_checkpointing, train.curriculum]
    here = [device.type, torch.get_num_threads(), torch.__version__]  # generated C++ knows how many threads
    return json.dumps([model, shape, here], sort_keys=True)


def _keep_code_here() -> Path:
    """The folder of compiled code, this user's alone: what lies there is executed, so never where others can write."""
    from torch._inductor import codecache

    folder, tag = _folder_of_code(), torch.compiler.config.cache_key_tag
    # torch keeps a graph under the names of its operations: what a version of ours makes of them is not another's.
    if not tag.endswith(operations := _digest(OPERATIONS)):
        torch.compiler.config.cache_key_tag = tag + operations
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
    os.environ.setdefault("TRITON_CACHE_DIR", str(folder / "triton"))
    headers = folder / "precompiled_headers"  # which torch keeps in a shared /tmp, whatever is chosen for the rest
    codecache._HEADER_DIR, codecache._HEADER_LOCK_DIR = str(headers), str(headers / "locks")
    return folder


def _digest(files: Collection[Path]) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()[:16]


def _folder_of_code() -> Path:
    """As the user chose it, else in the home, else a new one for this process alone."""
    if chosen := _chosen_folder():
        folder = Path(chosen)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder
    own = own_folder(f"compiled-{sys.version_info[0]}.{sys.version_info[1]}")
    return own or Path(tempfile.mkdtemp(prefix="trm-compiled-"))


def _chosen_folder() -> str:
    """The user's choice, of which torch's own, which lies in a shared /tmp and which it sets itself, is none."""
    if chosen := os.environ.get("TORCHINDUCTOR_CACHE_DIR", ""):
        from torch._inductor.runtime.cache_dir_utils import default_cache_dir

        return "" if chosen == default_cache_dir() else chosen
    return ""
