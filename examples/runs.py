"""Makes the runs of a comparison: what is finished is not repeated, what was killed continues."""

import dataclasses
import hashlib
import json
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import keras

import keras_sparse as ks
from examples import data, feeds, run_records, training
from examples.recipes import recipe
from examples.run_records import Record


@dataclasses.dataclass(frozen=True)
class Run:
    """One training: all that its result depends on.

    Args:
        model: name of a network of ``examples.models``.
        method: ``"dense"``, or a name of ``examples.recipes.METHODS``.
        density: active / all masked weights; 1 if dense.
        epochs: of this training; the recipe keeps its proportions.
        seed: of weights, masks and batches.
        batch: images in a batch.
        learning_rate: before it falls.
        initial_scale: None, as published, or ``"auto"``; see ``ks.SparseMomentum``.
        growth_window: steps before an update in which missing weights get gradients; ``"auto"``.
        sparse_kernels: with layers that skip missing weights.
        precision: dtype policy.
        backend: of Keras.
        images: to train and validate with, the first ones of the data; None: all.
        start: .keras file of a trained network to start from; None: untrained.
    """

    model: str
    method: str
    density: float
    epochs: int
    seed: int
    batch: int
    learning_rate: float
    initial_scale: str | None
    growth_window: int | str
    sparse_kernels: bool
    precision: str
    backend: str
    images: int | None
    start: str | None

    def name(self) -> str:
        """Of its folder: what most runs differ in, and a digest of all."""
        digest = hashlib.sha256(json.dumps(dataclasses.asdict(self)).encode()).hexdigest()[:8]
        return f"{self.model}_{self.method}_{self.density:g}_seed{self.seed}_{digest}"

    def is_of(self, record: Record) -> bool:
        """Does this record tell how this run ended?"""
        return all(record.get(name) == value for name, value in dataclasses.asdict(self).items())


def train(run: Run, source: data.Images | str, output: Path, save: bool = False) -> Record:
    """Trains, or goes on where a kill has stopped it; the run with its errors in per cent.

    Args:
        run: what to train.
        source: the images, of which ``run.images`` are used; of ImageNet, a folder of TFRecords.
        output: a folder. The run's own folder there keeps the backup until the run has ended, then
            the log of its epochs.
        save: keep the trained network there, too, as model.keras, and a page report.html.
    """
    folder = output / run.name()
    folder.mkdir(parents=True, exist_ok=True)
    feed = _feed(run, source)
    model = _compiled(run, run.epochs * feed.steps)
    log = EpochLog(folder / "epochs.jsonl", run)
    masks = [] if run.method == "dense" else [ks.UpdateMasks()]
    backup = ks.BackupAndRestore(folder / "backup", delete_checkpoint=False)
    model.fit(
        feed.batches,
        epochs=run.epochs,
        steps_per_epoch=None if isinstance(source, data.Images) else feed.steps,
        validation_data=feed.validation,
        callbacks=[*feed.callbacks, *masks, log, backup],
        shuffle=False,  # Keras would shuffle the batches once more
        verbose=0,
    )
    figures = _figures(model, feed, log)
    if save:
        model.save(folder / "model.keras")
        history = masks[0] if masks else None
        ks.report(model, folder / "report.html", history=history, batch=run.batch)
    shutil.rmtree(folder / "backup")
    return {**dataclasses.asdict(run), **figures}


def _feed(run: Run, source: data.Images | Path) -> feeds.Feed:
    how = recipe(run.model)
    how = dataclasses.replace(how, batch=run.batch)
    if isinstance(source, str):
        return feeds.imagenet_feed(how, source, run.images)
    return feeds.feed(how, source.first(run.images) if run.images else source, run.seed)


def _compiled(run: Run, steps: int) -> keras.Model:
    settings: dict[str, Any] = {"initial_scale": run.initial_scale}
    if run.growth_window != "auto":
        settings["growth_window"] = run.growth_window
    settings["highest"] = run.learning_rate
    settings["sparse_kernels"] = run.sparse_kernels
    settings["start"] = run.start and Path(run.start)
    return training.compiled(run.model, run.method, run.density, steps, run.seed, **settings)


def _figures(model: keras.Model, feed: feeds.Feed, log: "EpochLog") -> Record:
    """Errors in per cent, the density at the end, and the seconds of all epochs."""
    if isinstance(feed.test, tuple):
        tested = model.evaluate(*feed.test, batch_size=500, verbose=0, return_dict=True)
    else:
        tested = model.evaluate(feed.test, verbose=0, return_dict=True)
    is_dense = log.run.method == "dense"
    density = 1.0 if is_dense else ks.sparse_optimizer(model).total_density()
    return {
        "test_error": round(100 * (1 - tested["accuracy"]), 3),
        "validation_error": log.epochs[log.run.epochs].get("validation_error"),
        "final_density": density,
        "seconds": round(sum(epoch["seconds"] for epoch in log.epochs.values()), 1),
    }


class EpochLog(keras.callbacks.Callback):
    """Prints a line after each epoch, and keeps it in a file, which a resumed training reads.

    Args:
        file: JSON lines, one for each epoch.
        run: what is trained.
    """

    def __init__(self, file: Path, run: Run) -> None:
        super().__init__()
        self.file, self.run = file, run
        # An epoch may have two lines, if a kill came between line and backup: the later one counts.
        self.epochs = {line["epoch"]: line for line in run_records.read(file)}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.begin = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        seconds = round(time.perf_counter() - self.begin, 2)
        line: Record = {"epoch": epoch + 1, "seconds": seconds, "loss": round(logs["loss"], 4)}
        line["training_error"] = round(100 * (1 - logs["accuracy"]), 3)
        if "val_accuracy" in logs:
            line["validation_error"] = round(100 * (1 - logs["val_accuracy"]), 3)
        if "density" in logs:
            line["density"] = logs["density"]
        self.epochs[epoch + 1] = line
        run_records.add(self.file, line)
        print(self._told(line), flush=True)

    def _told(self, line: Record) -> str:
        run, done = self.run, line["epoch"]
        left = statistics.median(one["seconds"] for one in self.epochs.values())
        left *= run.epochs - done
        names = ("loss", "training_error", "validation_error")
        figures = [f"{name.replace('_', ' ')} {line[name]:.4g}" for name in names if name in line]
        density = f", density {line['density']:.4f}" if "density" in line else ""
        return (
            f"{run.model} {run.method} seed {run.seed}, epoch {done}/{run.epochs}: "
            f"{', '.join(figures)}{density}, {line['seconds']:.1f} s, {left / 60:.1f} min left"
        )
