"""What a run is trained on: the device's name, what is free there, how it applies the networks."""

from __future__ import annotations

import gc

import torch

from trm_core import compiled
from trm_core.config import RunConfig
from trm_core.distributed import gather_batch
from trm_core.memory import Networks, free_memory, networks_on_a_gpu
from trm_core.settings import BadSetting


def free_on(device: torch.device) -> int | None:
    """Bytes that a new run can have there; None where the system does not say.

    On a GPU what torch's caching allocator keeps of tensors that are gone is as good as free: it gives it to the next.
    """
    if device.type != "cuda":
        return free_memory()
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + kept


def networks_of(run: RunConfig, device: torch.device) -> Networks:
    """How this device applies the networks, which decides what a step keeps."""
    if not compiled.is_compiled(run, device):
        return "plain"
    return networks_on_a_gpu(run) if device.type == "cuda" else "compiled"


def least_free_on(device: torch.device) -> int | None:
    """Bytes that a new run can have on every worker's device: all decide alike."""
    free, unknown = free_on(device), torch.iinfo(torch.int64).max
    on_each = gather_batch(torch.tensor([unknown if free is None else free], device=device))
    least = int(on_each.min())
    return None if least == unknown else least


def release(device: torch.device) -> None:
    """Give back what a GPU holds of runs that are over: cycles that keep tensors, and then the allocator's cache."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def device_named(name: str) -> str:
    """ "auto" is the GPU where there is one. Raises BadSetting."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise BadSetting("device cuda: torch finds no GPU here; use device cpu, or install a CUDA build of torch")
    return name
