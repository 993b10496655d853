"""AdamATan2 in plain torch, AdamW and Muon from torch, and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from trm_core.settings import BadSetting, OptimSettings

Method = TypeVar("Method", bound=Callable[..., object])


def _plain(method: Method) -> Method:
    """The method itself, where torch has wrapped it."""
    return getattr(method, "__wrapped__", method)


class _Plain(Optimizer):
    """torch's base class, without what keeps torch.compile out of four of its methods.

    No optimiser is compiled here, and what keeps it out is torch._dynamo: 2 s of imports in every process that trains.
    """

    add_param_group = _plain(Optimizer.add_param_group)
    zero_grad = _plain(Optimizer.zero_grad)
    state_dict = _plain(Optimizer.state_dict)
    load_state_dict = _plain(Optimizer.load_state_dict)


class AdamATan2(_Plain):
    """Adam with atan2(m, √v) in place of m / (√v + ε), and decoupled weight decay (Everett et al. 2024; released code).

    p ← p·(1 − lr·wd);  p ← p − lr/(1−β1ᵗ) · atan2(m, √v / √(1−β2ᵗ)), m and v plain moving averages of g and g².
    """

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, betas: tuple[float, float], weight_decay: float
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        assert closure is None, "AdamATan2 evaluates no closure"
        for group in self.param_groups:
            params: list[Tensor] = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            grads = [p.grad for p in params if p.grad is not None]
            for p in params:
                if not self.state[p]:
                    self.state[p] = {
                        "step": torch.zeros(()),  # on the CPU, as torch's own optimisers keep it
                        "exp_avg": torch.zeros_like(p),
                        "exp_avg_sq": torch.zeros_like(p),
                    }
                self.state[p]["step"] += 1
            m = [self.state[p]["exp_avg"] for p in params]
            v = [self.state[p]["exp_avg_sq"] for p in params]
            t = int(self.state[params[0]]["step"])
            lr, (beta1, beta2) = group["lr"], group["betas"]

            torch._foreach_mul_(params, 1 - lr * group["weight_decay"])
            torch._foreach_lerp_(m, grads, 1 - beta1)
            torch._foreach_mul_(v, beta2)
            torch._foreach_addcmul_(v, grads, grads, value=1 - beta2)
            scale = torch._foreach_sqrt(v)
            torch._foreach_div_(scale, math.sqrt(1 - beta2**t))
            turns = [torch.atan2(a, b) for a, b in zip(m, scale, strict=True)]
            torch._foreach_mul_(turns, -lr / (1 - beta1**t))  # rounded before it is added, as in the reference numbers
            torch._foreach_add_(params, turns)


class MuonAndAdamATan2(_Plain):
    """torch's Muon on matrices (Jordan et al. 2024), AdamATan2 on all else, at one learning rate and weight decay.

    m ← 0.95·m + 0.05·g;  p ← p·(1 − lr·wd) − 0.2·√max(rows, columns)·lr · O(0.05·g + 0.95·m), and O(UΣVᵀ) ≈ UVᵀ by five
    Newton-Schulz steps in bf16. The factor gives a step the size of AdamW's, so AdamW's learning rate and weight decay
    serve (Liu et al. 2025, "Muon is scalable for LLM training").
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        others: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float],
        weight_decay: float,
    ) -> None:
        if not hasattr(torch.optim, "Muon"):
            raise BadSetting(
                f'optim.name="muon": torch {torch.__version__} has no Muon, torch 2.9 is the first that has; install'
                ' that, or set optim.name="adam_atan2"'
            )
        muon = torch.optim.Muon(
            matrices,
            lr=lr,
            weight_decay=weight_decay,
            momentum=0.95,
            nesterov=True,
            ns_steps=5,
            adjust_lr_fn="match_rms_adamw",
        )
        self.parts = (muon, AdamATan2(others, lr=lr, betas=betas, weight_decay=weight_decay))
        # One optimiser from outside: the groups are the parts' own, and so is the state.
        super().__init__([group for part in self.parts for group in part.param_groups], {})
        for part in self.parts:
            part.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        assert closure is None, "MuonAndAdamATan2 evaluates no closure"
        for part in self.parts:
            part.step()


def make_optimiser(
    params: Iterable[nn.Parameter], settings: OptimSettings, matrices: Collection[nn.Parameter] = ()
) -> Optimizer:
    """The network's optimiser; the puzzle embedding has its own (PuzzleEmbedding.sign_sgd).

    matrices: those of params that Muon takes, where it is asked for. Raises BadSetting where torch has none.
    """
    betas = (settings.beta1, settings.beta2)
    if settings.name == "muon":
        known = set(matrices)
        others = [p for p in params if p not in known]
        return MuonAndAdamATan2(matrices, others, lr=settings.lr, betas=betas, weight_decay=settings.weight_decay)
    if settings.name == "adamw":
        return AdamW(params, lr=settings.lr, betas=betas, weight_decay=settings.weight_decay)
    return AdamATan2(params, lr=settings.lr, betas=betas, weight_decay=settings.weight_decay)


def lr_factor(settings: OptimSettings, step: int, steps: int) -> float:
    """What the learning rates are multiplied with at a step counted from 1: linear warm-up, then constant or cosine."""
    if step < settings.warmup_steps:
        return step / settings.warmup_steps
    if settings.schedule == "constant":
        return 1.0
    progress = (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps)
    return settings.final_lr + (1 - settings.final_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
