"""The training loop: epochs, validation, a falling learning rate, early stopping, and a checkpoint each epoch.

A run that was stopped, however suddenly, goes on from its latest checkpoint when it is started again.
"""

from __future__ import annotations

import json
import math
import os
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import torch

from worker.detector.model import SuSy
from worker.detector.weights import load_weights, save_weights
from worker.files import remove_partial_files
from worker.lab.training.batches import training_batches
from worker.lab.training.carbon import Reading, metered
from worker.lab.training.checkpoint import load_checkpoint, save_checkpoint
from worker.lab.training.data import Data, load_data
from worker.lab.training.distributed import ProcessGroup, join, share_statistics
from worker.lab.training.epoch import Epoch
from worker.lab.training.logs import Logs, Terminal, line
from worker.lab.training.order import epoch_order, steps_of
from worker.lab.training.provenance import provenance
from worker.lab.training.recipe import Recipe, refuse
from worker.lab.training.session import Session
from worker.lab.training.state import new_run
from worker.lab.training.step import is_checkpoint, train
from worker.lab.training.validation import cross_entropy, detection_f1, predict
from worker.settings import load_settings

LOADERS_ON_GPU = 8
WEIGHTS = "weights.safetensors"


def fit(recipe: Recipe) -> Path:
    """Train as the recipe says and return the weights file of the epoch with the best validation loss.

    Writes into `recipe.out`: the weights, `checkpoint.pt`, `metrics.csv`, `tensorboard/` and the cut `patches/`.
    Raises `SetupError` naming the key, the class, the image or the file that is wrong.
    """
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    with join(recipe.device) as group:
        terminal = Terminal(speaks=group.is_main)
        _make_folder(recipe)
        data = load_data(recipe, group, max_pixels=load_settings().max_pixels)
        _say_what_is_left_out(data, terminal)
        session = _begin(recipe, data, group, terminal)
        with (
            metered(recipe.carbon if group.is_main else "") as reading,
            closing(Logs(recipe.out, session.run.progress.history, terminal, writes=group.is_main)) as logs,
        ):
            before = session.run.progress.energy
            while session.unfinished:
                _one_epoch(session, terminal, logs, lambda: before + reading() if reading else before)
        if group.is_main:
            _complete_provenance(session)
        return recipe.out / WEIGHTS


def _make_folder(recipe: Recipe) -> None:
    try:
        recipe.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        refuse("out", f"{recipe.out} is no folder to write to ({error.strerror}); name another")


def _begin(recipe: Recipe, data: Data, group: ProcessGroup, terminal: Terminal) -> Session:
    run = new_run(recipe, group)
    state = load_checkpoint(recipe, data.fingerprint)
    if state is not None:
        run.restore(state)
        terminal.say(f"going on after {run.epochs} epochs and {run.progress.step} steps")
    group.wait()  # until all have read the checkpoint, nobody may write the next
    if group.is_main:
        remove_partial_files(recipe.out)
    return Session(recipe, data, run, group)


def _one_epoch(session: Session, terminal: Terminal, logs: Logs, energy: Reading) -> None:
    """Train and validate once, and keep what came of it."""
    recipe, data, run, group = session.recipe, session.data, session.run, session.group
    rate, began = run.learning_rate, time.monotonic() - run.progress.seconds
    number = run.epochs + 1
    _train(session, terminal, f"epoch {number} of {recipe.epochs}", began, energy)
    share_statistics(run.model, group)
    probabilities = predict(recipe, run, data.validation, group)
    labels = data.validation.labels
    run.progress.energy = energy()
    taken = asdict(run.progress.energy) if recipe.carbon else {"kwh": None, "co2_kg": None}
    epoch = Epoch(
        epoch=number,
        learning_rate=rate,
        train_loss=run.progress.loss / run.progress.tiles,
        train_accuracy=run.progress.right / run.progress.tiles,
        loss=cross_entropy(probabilities, labels, data.class_weights),
        accuracy=float((probabilities.argmax(axis=1) == labels).mean()),
        detection_f1=detection_f1(probabilities[:, 0], data.validation),
        seconds=time.monotonic() - began,
        energy_kwh=taken["kwh"],
        co2_kg=taken["co2_kg"],
    )
    if not math.isfinite(epoch.train_loss + epoch.loss):
        refuse("learning_rate", f"{rate} makes the loss of epoch {number} no number any more; lower it")
    best = run.finish_epoch(epoch)
    if group.is_main:
        # The weights come first: a run that is killed in between repeats the epoch, and writes the same again.
        if best:
            _save_weights(session, run.model, epoch)
        save_checkpoint(recipe, data.fingerprint, run.state())
    logs.write(run.progress.history)
    terminal.say(line(epoch))


def _train(session: Session, terminal: Terminal, title: str, began: float, energy: Reading) -> None:
    """The epoch's training, from the step where the run stands."""
    recipe, data, run, group = session.recipe, session.data, session.run, session.group
    steps = steps_of(epoch_order(recipe, data.train, run.epochs), recipe.batch, group.size)
    batches = training_batches(
        recipe,
        data.train,
        steps[run.progress.step :],
        epoch=run.epochs,
        class_weights=data.class_weights,
        rank=group.rank,
        processes=group.size,
        loaders=_loaders(recipe, group),
    )
    with terminal.bar(title, len(steps), run.progress.step) as advance:

        def after_a_step() -> None:
            advance()
            if is_checkpoint(recipe, run.progress.step) and group.is_main:
                run.progress.seconds = time.monotonic() - began
                run.progress.energy = energy()
                save_checkpoint(recipe, data.fingerprint, run.state())

        train(recipe, run, group, steps, batches, after_a_step)


def _save_weights(session: Session, model: SuSy, best: Epoch) -> None:
    recipe = session.recipe
    save_weights(
        recipe.out / WEIGHTS,
        model,
        name=recipe.name,
        version="1",
        classes=recipe.classes,
        provenance=provenance(recipe, session.data, session.run, session.group, best),
    )


def _complete_provenance(session: Session) -> None:
    """Let the weights file of the best epoch say what the whole run took."""
    model, info = load_weights(session.recipe.out / WEIGHTS)
    best = min(session.run.progress.history, key=lambda epoch: epoch.loss)
    said = provenance(session.recipe, session.data, session.run, session.group, best)
    if info.provenance["training"] != json.loads(json.dumps(said["training"])):
        _save_weights(session, model, best)


def _loaders(recipe: Recipe, group: ProcessGroup) -> int:
    """Threads that prepare batches. One suffices on a CPU, where each more would take time from the network."""
    if recipe.loaders or group.device.type == "cpu":
        return recipe.loaders or 1
    return max(1, min(LOADERS_ON_GPU, len(os.sched_getaffinity(0)) // group.size - 1))


def _say_what_is_left_out(data: Data, terminal: Terminal) -> None:
    if data.ignored:
        terminal.say(f"classes of the data that the recipe does not name: {', '.join(data.ignored)}; left out")
    if data.left_out:
        terminal.say(f"{data.left_out} images are smaller than a patch; left out")
