"""The few collective operations a run needs; with one process each is the identity."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch import distributed as dist

_alone = False  # in this process


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Within it this worker computes by itself, as with one process: the others do not know of it."""
    global _alone
    was, _alone = _alone, True
    try:
        yield
    finally:
        _alone = was


def world() -> tuple[int, int]:
    """(rank, number of workers); (0, 1) where torch.distributed is not initialised, and within alone()."""
    if not _alone and dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def sum_over_workers(tensors: Iterable[Tensor]) -> None:
    """Each tensor becomes its sum over all workers, in place; one message for all of them."""
    if world()[1] == 1:
        return
    tensors = list(tensors)
    message = torch.cat([tensor.reshape(-1) for tensor in tensors])
    dist.all_reduce(message)
    for tensor, part in zip(tensors, torch.split(message, [tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def gather_batch(tensor: Tensor) -> Tensor:
    """[B / workers, ...] on each worker → [B, ...] on all, in rank order."""
    workers = world()[1]
    if workers == 1:
        return tensor
    sent = tensor.to(torch.uint8) if tensor.dtype == torch.bool else tensor
    parts = [torch.empty_like(sent) for _ in range(workers)]
    dist.all_gather(parts, sent.contiguous())
    return torch.cat(parts).to(tensor.dtype)


def wait_for_all() -> None:
    """Return when every worker has come here."""
    if world()[1] > 1:
        dist.barrier()


def same_for_all(text: str) -> str:
    """The first worker's text, on every worker."""
    if world()[1] == 1:
        return text
    told = [text]
    dist.broadcast_object_list(told, src=0)
    return told[0]
