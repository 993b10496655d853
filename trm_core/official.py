"""The released code's names for our tensors: its state_dicts in and out (SamsungSAILMontreal/TinyRecursiveModels).

Theirs                                          ours
model.inner.H_init, L_init (L1_init, …)         initial [features, D]
model.inner.embed_tokens.embedding_weight       embed_tokens
model.inner.puzzle_emb.weights                  puzzle_embedding.weights
model.inner.L_level (single and multi-scale z)  f_z
model.inner.H_level, in HRM                     f_y_apart
model.inner.H_level, in direct prediction       f_z
model.inner.lm_head, q_head                     output_head, halting_head
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from trm_core.config import ModelSettings

PREFIX = "model.inner."  # the loss head's model, its inner part
COMPILED = "_orig_mod."  # what torch.compile puts before it


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
