"""train(run, data, report): the loop, top to bottom. Needs no Ray; every launcher calls it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data_prep.puzzle_set import PuzzleSet
from trm_core import checkpoint as checkpoints_of
from trm_core import compiled
from trm_core import outcomes as outcomes_of
from trm_core.capture import WARM_UP, Captured, ForwardAndBackward
from trm_core.checkpoint import BadCheckpoint, Checkpoint
from trm_core.config import RunConfig
from trm_core.curriculum import Depth
from trm_core.data import Batch, TrainingBatches, sample
from trm_core.devices import device_named, least_free_on, networks_of, release
from trm_core.diagnostics import diagnose, ema_distance
from trm_core.distributed import gather_batch, sum_over_workers, wait_for_all, world
from trm_core.ema import EMA
from trm_core.evaluate import evaluate_at
from trm_core.evaluate_outcomes import Watch, depths, puzzles_at_depth
from trm_core.memory import refuse_what_does_not_fit, settled, why_recomputed
from trm_core.meter import Meter
from trm_core.metrics import TRAIN_SUMS, halting_metrics, no_sums, train_metrics
from trm_core.model import Model
from trm_core.optim import lr_factor, make_optimiser
from trm_core.outcomes import Outcomes, Place, halting_scores, write_outcomes
from trm_core.scores import scores
from trm_core.settings import BadSetting
from trm_core.solving.thought import Asked
from trm_core.supervision import Slots, Step, empty_slots, exploration, refill, supervision_step

Report = Callable[[int, Mapping[str, float], Path | None], None]


class Diverged(ValueError):
    """The training loss, or a weight, is no longer a number, at this step."""

    def __init__(self, step: int, found: str) -> None:
        super().__init__(step, found)  # both, so that it comes whole out of another process
        self.step = step

    def __str__(self) -> str:
        step, found = self.args
        return f"diverged at step {step}: {found}; a lower optim.lr or a longer optim.warmup_steps may help"


def train(
    run: RunConfig,
    data: PuzzleSet,
    report: Report,
    *,
    checkpoints: Path | None = None,
    predictions: Path | None = None,
    outcomes: Path | None = None,
    device: str = "auto",
    begun: Callable[[RunConfig, str], None] = lambda run, why: None,
    due: Callable[[int], bool] = lambda step: False,
    saved: Callable[[int], None] = lambda step: None,
    apart: Callable[[int, Model], bool] = lambda step, model: False,
) -> dict[str, float]:
    """Train one run to its end, from its newest checkpoint if there is one, and return the final metrics.

    report(step, metrics, checkpoint): called on every worker, every train.log_every steps, at every evaluation and at
    the end; checkpoint is the newest folder written. What it raises ends the training and passes through. A resumed
    run may report steps again that were reported before it stopped, with the same metrics.
    checkpoints: the folder to save to and resume from; None: neither.
    predictions: the folder for ARC's final predictions and what was voted from them (arc_vote.py); None: not kept.
    outcomes: the folder for outcomes.npz, what became of each test puzzle, and thought.npz, how one of them was thought
    about (outcomes.py, solving/); None: not kept.
    begun(run, why): called on every worker before the first step: the run with activation checkpointing decided where
    that is left to "auto", and why it was decided on, "" else.
    due(step): asked on every worker after every step, the same answer on all: whether to save here too, beside
    train.checkpoint_every. saved(step): called after each checkpoint; what it raises passes through. Neither moves a
    number.
    apart(step, model): asked on every worker at an evaluation in mid-run, the same answer on all: whether somebody else
    scores these weights while training goes on (scores.scores_of_saved), so that this step's report lacks its scores.
    With torch.distributed initialised, all its workers train this run together, each on its part of the batch.
    Raises BadSetting, NotEnoughMemory, BadCheckpoint, CheckpointNotWritten, Diverged; ARC's vote also
    CannotWritePredictions and BadPredictions, outcomes CannotWriteOutcomes and
    CannotWriteThought.
    """
    trainer = Trainer(run, data, torch.device(device_named(device)))
    begun(trainer.run, trainer.why_recomputed)
    path: Path | None = None  # of the newest checkpoint
    if checkpoints is not None:
        trainer.resume(checkpoints)
    began_at, meter = trainer.step, trainer.meter
    while trainer.step < run.train.steps:
        trainer.take_step()
        meter.step_taken(trainer.step)
        step = trainer.step
        if step == run.train.steps:
            break
        evaluates = step % run.train.eval_every == 0
        if evaluates or step % run.train.log_every == 0:
            metrics = trainer.window_metrics() | meter.read()
            with meter.paused():
                if evaluates:
                    taken_on = apart(step, trainer.evaluated_model)
                    metrics |= trainer.diagnose() if taken_on else trainer.evaluate()
                report(step, metrics, path)
        # After the report: a run killed in between says this step again, none is ever missing from its curves.
        if checkpoints is not None and (due(step) or step % run.train.checkpoint_every == 0):
            with meter.paused():
                path = trainer.save(checkpoints)
            saved(step)

    times = meter.read()
    # The last checkpoint comes before the last evaluation, which can be long; a run killed there only evaluates again.
    if checkpoints is not None and began_at < run.train.steps:
        path = trainer.save(checkpoints)
    metrics = trainer.window_metrics() | times
    metrics |= trainer.evaluate() | trainer.vote(predictions) | trainer.look_closer(outcomes)
    report(run.train.steps, metrics, path)
    return metrics


class Trainer:
    """A run under way: model, EMA, optimisers, slots, step."""

    def __init__(self, run: RunConfig, data: PuzzleSet, device: torch.device, *, capture: bool = True) -> None:
        """capture: where the step is compiled for a GPU, as one CUDA graph."""
        self.run, self.data, self.device = run, data, device
        self.rank, self.workers = world()
        if (data.cells, data.vocab) != (run.data.cells, run.data.vocabulary):
            size = f"data.box_rows={run.data.box_rows}, data.box_cols={run.data.box_cols} means"
            if run.data.puzzle != "sudoku":
                size = f'data.puzzle="{run.data.puzzle}", data.side={run.data.side} means'
            raise BadSetting(
                f"puzzles of {data.cells} cells and {data.vocab} tokens, but {size} {run.data.cells} cells and"
                f" {run.data.vocabulary} tokens; give the run the puzzles that its settings name"
            )
        if data.manifest.puzzle not in (run.data.puzzle, "other"):  # "other": a released dataset of unknown kind
            raise BadSetting(
                f'puzzles: {data.manifest.puzzle}, but data.puzzle="{run.data.puzzle}"; give the run the puzzles that'
                " its settings name"
            )
        if run.train.batch_size % self.workers:
            raise BadSetting(
                f"train.batch_size={run.train.batch_size}: {self.workers} workers share it and it does not divide;"
                f" set it to a multiple of {self.workers}"
            )
        if run.train.diagnostics and not len(data.validation):
            raise BadSetting(
                "train.diagnostics=true: measured on the validation split, and these puzzles have none;"
                " set train.diagnostics=false and use `python -m trm_core evaluate --diagnostics` afterwards"
            )
        if not run.looks_at_test and not len(data.validation):
            raise BadSetting(
                f'train.evaluate_on="{run.train.evaluate_on}": these puzzles have no validation split, as released'
                ' datasets have none; give it puzzles that have one, or set train.evaluate_on="validation and test"'
            )
        release(device)
        self.compiled = compiled.is_compiled(run, device)
        free, shared = least_free_on(device), {"workers": self.workers, "n_puzzle_ids": data.n_puzzle_ids}
        networks = networks_of(run, device)
        self.why_recomputed = why_recomputed(run, free, networks=networks, **shared)
        run = self.run = settled(run, free, networks=networks, **shared)
        refuse_what_does_not_fit(run, free, networks=networks, **shared)
        self.batches = TrainingBatches(data, run)
        self.model = Model(run, data.n_puzzle_ids).to(device)
        self.parameters = dict(self.model.named_parameters())
        self.optimiser = make_optimiser(self.parameters.values(), run.optim, self.model.matrices())
        self.ema = (
            None
            if run.optim.ema is None
            else EMA(self.model, run.optim.ema, puzzle_embedding=run.optim.ema_covers == "all")
        )
        if self.compiled:
            compiled.compile_run(self.model, self.evaluated_model, run, device, workers=self.workers)
        self.captures = capture and self.compiled and device.type == "cuda"
        self.depth: Depth | None = None  # of forward_and_backward
        self.forward_and_backward: ForwardAndBackward
        self.slots: Slots | None = None
        self.sums = no_sums(device)  # of the steps since the last report, this worker's slots
        # How many halted at each supervision step since the last evaluation, this worker's slots; for diagnostics.
        self.halted_at = torch.zeros(
            run.model.N_sup if run.train.diagnostics else 0, dtype=torch.float64, device=device
        )
        self.step = 0
        self.meter = Meter(run, device, self.workers, warm_up=WARM_UP + 1 if self.captures else 1)
        self.N_sup = run.evaluation_steps  # supervision steps at evaluation
        self.watch: Watch | None = None  # of the last evaluation, where it saw the test puzzles
        self.places: tuple[Place, ...] = ()  # of ARC's vote, on the first worker

    @property
    def evaluated_model(self) -> Model:
        """The EMA's weights where there is an EMA."""
        return self.model if self.ema is None else self.ema.model

    def at_depth(self, depth: Depth) -> ForwardAndBackward:
        """forward_and_backward with this T and n; where it is captured, the graph of another depth is let go."""
        if depth != self.depth:
            work = partial(self._forward_and_backward, depth)
            self.depth, self.forward_and_backward = depth, Captured(work) if self.captures else work
        return self.forward_and_backward

    def _forward_and_backward(self, depth: Depth, slots: Slots | None, batch: Batch, min_steps: Tensor) -> Step:
        """Refill, one supervision step, and the gradients of this worker's slots."""
        self.optimiser.zero_grad(set_to_none=True)  # before the forward: its activations take the gradients' place
        filled = refill(self.model, slots or empty_slots(self.model, batch), batch)
        result = supervision_step(self.model, filled, min_steps, depth)
        (result.loss / self.run.train.batch_size).backward()  # type: ignore[no-untyped-call]
        return result

    def take_step(self) -> None:
        """One optimiser step: refill, one supervision step, gradients summed over workers, both optimisers, EMA."""
        run, model = self.run, self.model
        with self.meter.waiting():
            batch = self.batches.draw(self.step, self.rank, self.workers, self.device)
        min_steps = exploration(model, run.train.seed, self.step, run.train.batch_size).chunk(self.workers)[self.rank]
        if self.device.type == "cuda":
            min_steps = min_steps.pin_memory()  # else the copy would wait for the GPU
        work = self.at_depth(run.depth_at(self.step))  # by the step alone, so a resumed run goes on at the same depth
        result = work(self.slots, batch, min_steps.to(self.device, non_blocking=True))
        sum_over_workers(p.grad for p in self.parameters.values() if p.grad is not None)

        self.step += 1
        factor = lr_factor(run.optim, self.step, run.train.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = run.optim.lr * factor
        self.optimiser.step()
        if model.puzzle_embedding is not None:
            assert result.puzzle_vectors is not None
            assert result.puzzle_vectors.grad is not None
            model.puzzle_embedding.sign_sgd(
                result.slots.puzzle_ids,
                result.puzzle_vectors.grad,
                run.optim.embedding_lr * factor,
                run.optim.embedding_weight_decay,
            )
        if self.ema is not None:
            self.ema.update(model)
        self.slots = result.slots
        self.sums += result.sums
        if run.train.diagnostics:
            self.halted_at.index_add_(0, result.slots.steps - 1, result.slots.halted.double())

    def window_metrics(self) -> dict[str, float]:
        """train/* since the last call, over all workers. Raises Diverged."""
        self.refuse_divergence()
        sums = self.sums.clone()
        sum_over_workers([sums])
        self.sums = no_sums(self.device)
        metrics = train_metrics(sums)
        factor = lr_factor(self.run.optim, self.step, self.run.train.steps)
        return metrics | {"train/lr": self.run.optim.lr * factor}

    def refuse_divergence(self) -> None:
        """Raises Diverged, on all workers alike, where the loss since the last report or a weight is not finite.

        Asked before anything is made of this state: a report, an evaluation, a checkpoint. The loss is of the weights
        before the last step; a sum of finite float32 in float64 is finite.
        """
        weights = torch.stack([tensor.sum(dtype=torch.float64) for tensor in self.model.state_dict().values()])
        facts = torch.stack([self.sums[TRAIN_SUMS.index("loss")], weights.sum()])
        sum_over_workers([facts])
        loss, total = facts.tolist()
        if not math.isfinite(loss):
            raise Diverged(self.step, f"the training loss is {loss}")
        if not math.isfinite(total):
            raise Diverged(self.step, "a weight is no longer finite")

    def evaluate(self) -> dict[str, float]:
        """The scores of the evaluated weights on the held-out puzzles (scores.py), and diagnostics if they are on."""
        last = self.step == self.run.train.steps
        if last and self.run.looks_at_test and len(self.data.test):
            self.watch = Watch(len(self.data.test), self.N_sup, self.run.model, self.device)
        found = scores(self.evaluated_model, self.run, self.data, self.device, last=last, watch=self.watch)
        return found | self.diagnose()

    def vote(self, predictions: Path | None) -> dict[str, float]:
        """test/* of ARC's vote over the variants of each test task; none without variants, or on validation alone."""
        run = self.run
        if not run.looks_at_test or self.data.groups is None or not len(self.data.test):
            return {}
        from trm_core.arc_vote import final_metrics

        found, self.places = final_metrics(
            self.evaluated_model,
            self.data,
            predictions,
            step=self.step,
            votes=run.train.votes,
            batch_size=run.train.batch_size,
            N_sup=self.N_sup,
            device=self.device,
        )
        return {f"test/{name}": value for name, value in found.items()}

    def look_closer(self, folder: Path | None) -> dict[str, float]:
        """test/* of what the last evaluation saw: halting, accuracy by depth. Outcomes and a thought are written."""
        if self.watch is None or not len(self.data.test):
            return {}
        found = self.watch.outcomes(self.data, self.step, self.places, halt=self.run.train.eval_halt)
        if folder is not None and self.rank == 0:
            write_outcomes(found, folder / outcomes_of.NAME)
            self.keep_a_thought(found, folder)
        metrics = halting_scores(found) if self.run.model.halting != "none" else {}
        n = puzzles_at_depth(self.run, self.N_sup, len(found))
        if n:
            at = evaluate_at(
                self.evaluated_model,
                self.data.test,
                limit=n,
                batch_size=self.run.train.batch_size,
                steps=depths(self.N_sup),
                device=self.device,
                order=sample(self.data, "test"),
            )
            metrics |= {f"exact_accuracy/step_{step:02d}": scores["exact_accuracy"] for step, scores in at.items()}
            metrics["puzzles_at_depth"] = n
        return {f"test/{name}": value for name, value in metrics.items()}

    def keep_a_thought(self, found: Outcomes, folder: Path) -> None:
        """How the solved test puzzle that settled last was thought about; the first puzzle where none is solved."""
        from trm_core.solving import record, thought_file

        i = int((found.settled_at * found.solved).argmax())
        test = self.data.test
        asked = Asked(f"test {i}", np.array(test.inputs[i]), np.array(test.labels[i]), int(test.puzzle_ids[i]))
        name = record.about(self.run, self.step)
        (thought,) = record.think(self.evaluated_model, [asked], self.N_sup, self.run, name)
        thought_file.write_thought(thought, folder / thought_file.NAME)

    def diagnose(self) -> dict[str, float]:
        """How the recursion behaves on a sample of train.eval_puzzles of validation, where training halted, EMA.

        Nothing where train.diagnostics is off.
        """
        run = self.run
        if not run.train.diagnostics:
            return {}
        found = diagnose(
            self.evaluated_model,
            self.data.splits["validation"],
            limit=run.train.eval_puzzles,
            batch_size=run.train.batch_size,
            N_sup=self.N_sup,
            device=self.device,
            order=sample(self.data, "validation"),
        )
        metrics = {f"validation/{name}": value for name, value in found.items()}
        halted_at = self.halted_at.clone()
        sum_over_workers([halted_at])
        self.halted_at.zero_()
        metrics |= halting_metrics(halted_at)
        if self.ema is not None:
            metrics["train/ema_distance"] = ema_distance(self.model, self.ema.model)
        return metrics

    def save(self, folder: Path) -> Path:
        """A checkpoint of this step; slots are gathered from all workers, the first one writes. Raises Diverged."""
        assert self.slots is not None
        self.refuse_divergence()  # else it would take the place of the last good one
        slots = {name: gather_batch(tensor) for name, tensor in self.slots.tensors().items()}
        sums, halted_at = self.sums.clone(), self.halted_at.clone()
        sum_over_workers([sums, halted_at])
        path = checkpoints_of.at_step(folder, self.step)
        if self.rank == 0:
            training: dict[str, Tensor] = {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
            if self.ema is not None and self.ema.shares_puzzle_embedding:  # gigabytes with ARC; the weights hold it
                del training["model/puzzle_embedding.weights"]
            training |= {f"slots/{name}": tensor for name, tensor in slots.items()}
            training |= {
                f"optim/{name}/{key}": tensor
                for name, parameter in self.parameters.items()
                for key, tensor in self.optimiser.state[parameter].items()
            }
            training["sums"] = sums
            if self.run.train.diagnostics:
                training["halted_at"] = halted_at
            path = checkpoints_of.save(
                Checkpoint(
                    self.step,
                    self.run.model_dump(mode="json"),
                    self.data.content_hash,
                    dict(self.evaluated_model.state_dict()),
                    training,
                ),
                folder,
            )
        wait_for_all()
        return path

    def resume(self, folder: Path) -> None:
        """Go on from the newest good checkpoint, if there is one; all workers from the same. Raises BadCheckpoint."""
        saved = checkpoints_of.newest(folder)
        if saved is not None:
            if saved.weights_only:
                raise BadCheckpoint(
                    f"{folder}: step {saved.step} has weights only (it was imported, or its run had ended): no raw"
                    " weights, optimiser or slots to go on from; evaluate it with `python -m trm_core evaluate`, or"
                    f" delete {folder} to start anew"
                )
            try:
                self.restore(saved)
            except (KeyError, RuntimeError, BadSetting) as error:
                reason = " ".join(str(error).split())[:300]
                raise BadCheckpoint(
                    f"{folder}: step {saved.step} does not fit this version of the program ({reason});"
                    f" delete {folder} to start anew"
                ) from error
        steps = gather_batch(torch.tensor([self.step], device=self.device)).tolist()
        if len(set(steps)) > 1:
            raise BadCheckpoint(
                f"{folder}: the workers found different checkpoints (steps {steps});"
                " the results folder must be one that all machines see under the same path"
            )

    def restore(self, saved: Checkpoint) -> None:
        """Go on from a whole checkpoint of this very run, on any number of workers. Raises BadCheckpoint."""
        theirs, ours = RunConfig.parse(saved.settings), self.run
        if theirs.key(saved.data_hash) != ours.key(self.data.content_hash):
            a, b = theirs.flat(), ours.flat()
            differs = [f"{name}={a[name]} there, {b[name]} here" for name in a if a[name] != b[name]] or [
                "other puzzles"
            ]
            raise BadCheckpoint(f"checkpoint of another run ({'; '.join(differs)}); give each run its own folder")
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "slots": {}, "optim": {}}
        for name, tensor in saved.training.items():
            part, _, rest = name.partition("/")
            parts.setdefault(part, {})[rest] = tensor
        if self.ema is not None and self.ema.shares_puzzle_embedding:
            parts["model"]["puzzle_embedding.weights"] = saved.weights["puzzle_embedding.weights"]
        self.model.load_state_dict(parts["model"])
        if self.ema is not None:
            self.ema.model.load_state_dict(saved.weights)
        for name, tensor in parts["optim"].items():
            parameter, key = name.rsplit("/", 1)
            home = torch.device("cpu") if key == "step" else self.device
            self.optimiser.state[self.parameters[parameter]][key] = tensor.to(home)
        self.slots = Slots.from_tensors(
            {name: tensor.to(self.device).chunk(self.workers)[self.rank] for name, tensor in parts["slots"].items()}
        )
        self.sums = saved.training["sums"].to(self.device) / self.workers
        if self.run.train.diagnostics and "halted_at" in saved.training:  # not where diagnostics were off until now
            self.halted_at = saved.training["halted_at"].to(self.device) / self.workers
        self.step = saved.step
