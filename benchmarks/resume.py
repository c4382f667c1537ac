"""A training that was killed and resumed is the training that was not.

    python -m benchmarks.resume --output benchmarks/results/resume.md

Processes train a small network with BackupAndRestore. Each is killed, most of them while they
write a backup, and another one resumes in the same folder, up to eight times in a row.
"""

import argparse
import collections
import itertools
import json
import os
import random
import shutil
import signal
import tempfile
import traceback
from pathlib import Path
from typing import Any

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1")
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # it makes a process start twice as slowly

import numpy as np

from benchmarks import report
from benchmarks.interrupted_training import BATCHES, Kill, Setting, train

COMMAND = "python -m benchmarks.resume --output benchmarks/results/resume.md"
IN_A_ROW = 8  # kills of one training
LINES = 90  # that back up, over one backup or two
NOTE = """A training of six epochs of two steps is killed up to eight times, and resumed each time by a new
process. Two in five kills come before a random line of the callback's code while it writes a
backup (SIGKILL), two in five at a random moment of the writing, and one in five at a random moment
of `fit` (SIGALRM, which also ends a process at once). States are compared bit for bit: weights,
masks, momenta, counters, all other variables of the model and its optimizer, and the epoch that
begins next. Each figure says in how many of the cases it was so.

- in the writing: kills that came while a backup was written.
- restored whole: the state after `on_train_begin` is the last one whose backup was complete, or the
  one that was being written, with its own epoch. Starts that were killed before that do not count.
- restored the newer: after a kill in the writing, the newer of the two.
- final = undisturbed: the training ends with the state of one that was never killed. A training that
  was backed up within an epoch begins that epoch again, as in Keras, from the state it had reached:
  it makes other steps, and the next two columns say what can be asked of it.
- no second update: the masks of an epoch that had begun are not updated again.
- repeatable: two trainings resumed from the same backup end with the same state.
- active constant: as many active weights at the end as at the beginning.
- start failed: `fit` raised an error when it began, and that training was lost.
"""
CHECKS = (
    "restored whole",
    "final = undisturbed",
    "no second update",
    "repeatable",
    "active constant",
)
State = dict[str, np.ndarray]
SETTINGS = [
    Setting("keras_sparse", save_freq, double, masks)
    for save_freq, double, masks in itertools.product(
        ("epoch", BATCHES), (False, True), ("before", "after")
    )
]
KERAS = [Setting("keras", "epoch", double, "before") for double in (False, True)]


def main() -> None:
    """Kills, resumes, compares, prints, and writes if asked; fails if ours loses something."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=1000, help="over all settings")
    parser.add_argument(
        "--keras-kills", type=int, default=100, help="of Keras' own callback, to compare"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the moments at which to kill")
    parser.add_argument("--journal", type=Path, help="a file of what was done, to go on from")
    parser.add_argument("--output", type=Path, help="a Markdown file to write")
    arguments = parser.parse_args()
    wanted = {setting: -(-arguments.kills // len(SETTINGS)) for setting in SETTINGS}
    wanted |= {setting: -(-arguments.keras_kills // len(KERAS)) for setting in KERAS}
    done = [tally_of(setting, kills, arguments) for setting, kills in wanted.items()]
    text = report.header("Killed and resumed", COMMAND) + f"{NOTE}\n{results_table(wanted, done)}"
    print(text)
    if arguments.output:
        report.write(arguments.output, text)
    ours = done[: len(SETTINGS)]
    if any(
        tally["start failed"] or tally[check] < tally[f"of {check}"]
        for tally in ours
        for check in CHECKS
    ):
        raise SystemExit("a resumed training differs")


def tally_of(
    setting: Setting, kills: int, arguments: argparse.Namespace
) -> collections.Counter[str]:
    """Trains and kills until there were so many kills; counts what was found."""
    tally: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        undisturbed = Path(folder) / "undisturbed"
        run(setting, undisturbed, None)
        for number in itertools.count():
            if tally["kills"] >= kills:
                break
            key = f"{setting} {arguments.seed} {number}"
            found = journal(arguments.journal).get(key)
            if found is None:
                found = train_and_kill(
                    setting, Path(folder) / str(number), undisturbed, random.Random(key)
                )
                if arguments.journal:
                    with arguments.journal.open("a") as file:
                        file.write(json.dumps({key: found}) + "\n")
            tally.update(found)
    return tally


def journal(path: Path | None) -> dict[str, dict[str, int]]:
    """What was found in each training before."""
    lines = path.read_text().splitlines() if path and path.exists() else []
    return dict(item for line in lines for item in json.loads(line).items())


def train_and_kill(
    setting: Setting, folder: Path, undisturbed: Path, rng: random.Random
) -> dict[str, int]:
    """One training, killed up to eight times in a row; counts what was found."""
    found: collections.Counter[str] = collections.Counter()

    def check(name: str, holds: bool) -> None:
        found.update({name: int(holds), f"of {name}": 1})

    killed = True
    writing = float((undisturbed / "seconds").read_text())
    for kill in [random_kill(rng, writing) for _ in range(IN_A_ROW)] + [None]:
        again = folder.with_name(f"{folder.name}_again")
        shutil.rmtree(again, ignore_errors=True)
        if folder.exists():
            shutil.copytree(folder, again)
        try:
            killed = run(setting, folder, kill)
        except RuntimeError as error:
            print(error)
            found["start failed"] += 1
            return found
        found["kills"] += killed
        check_restored(setting, folder, again, check)
        found["in the writing"] += (
            killed and bool(state(folder, "restored")) and (folder / "writing.npz").exists()
        )
        if not killed:
            break
    final = state(folder, "final")
    check("active constant", active(final) == active(state(undisturbed, "final")))
    if setting.save_freq == "epoch":
        check("final = undisturbed", same(final, state(undisturbed, "final")))
    elif again.exists():
        run(setting, again, None)
        check("repeatable", same(final, state(again, "final")))
    return found


def check_restored(setting: Setting, folder: Path, before: Path, check: Any) -> None:
    """The state restored is one that was backed up, as the folder was before this process."""
    restored, begun = state(folder, "restored"), state(folder, "begun")
    older, newer = state(before, "backup"), state(before, "writing")
    if not restored or not older:
        return  # killed before that, or the first process of a training
    check("restored whole", same(restored, newer) or same(restored, older))
    if newer:
        check("restored the newer", same(restored, newer))
    if setting.save_freq != "epoch" and begun and steps(restored) > 0:
        check("no second update", same(masks_of(begun), masks_of(restored)))


def run(setting: Setting, folder: Path, kill: Kill | None) -> bool:
    """One process; True if it was killed. Raises RuntimeError if it failed."""
    folder.mkdir(exist_ok=True)
    for name in ("restored.npz", "begun.npz"):
        (folder / name).unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        try:
            train(setting, folder, kill)
            os._exit(0)
        except BaseException:
            (folder / "error").write_text(traceback.format_exc())
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGKILL, signal.SIGALRM):
        return True
    if status != 0:
        raise RuntimeError(
            f"{setting} {kill} ended with {status}:\n{(folder / 'error').read_text()[-600:]}"
        )
    return False


def random_kill(rng: random.Random, writing: float) -> Kill:
    """Two in five before a line of the writing, two at a moment of it, one at any moment."""
    kind = rng.randrange(5)
    if kind < 2:
        return Kill(line=rng.randrange(LINES))
    if kind < 4:
        return Kill(backup=rng.randrange(2), into=rng.uniform(0, 1.2 * writing))
    return Kill(seconds=rng.uniform(0, 1))


def state(folder: Path, name: str) -> State:
    """A state that the training has written; empty where it has not."""
    if not (folder / f"{name}.npz").exists():
        return {}
    with np.load(folder / f"{name}.npz") as arrays:
        return dict(arrays)


def same(one: State, other: State) -> bool:
    """The same variables and the same epoch, bit for bit."""
    return one.keys() == other.keys() and all(
        one[key].dtype == other[key].dtype and one[key].tobytes() == other[key].tobytes()
        for key in one
    )


def masks_of(full: State) -> State:
    """The masks, and when they were last updated."""
    return {key: value for key, value in full.items() if key.endswith(("_mask", "last_update"))}


def active(full: State) -> int:
    """Active weights in all."""
    return sum(int(value.sum()) for key, value in full.items() if key.endswith("_mask"))


def steps(full: State) -> int:
    """Steps of the optimizer."""
    return next(int(value) for key, value in full.items() if key.endswith("sgd.iteration"))


def results_table(wanted: dict[Setting, int], done: list[collections.Counter[str]]) -> str:
    """A row for each setting."""
    columns = ("restored whole", "restored the newer", *CHECKS[1:])
    rows = []
    for setting, tally in zip(wanted, done, strict=True):
        module = "ks" if setting.callback == "keras_sparse" else "keras.callbacks"
        often = (
            "every epoch" if setting.save_freq == "epoch" else f"every {setting.save_freq} batches"
        )
        name = f"{module}, {often}{', double' if setting.double else ''}, UpdateMasks {setting.masks} it"
        cells = [
            f"{tally[name]} of {tally[f'of {name}']}" if tally[f"of {name}"] else "-"
            for name in columns
        ]
        rows.append((name, tally["kills"], tally["in the writing"], *cells, tally["start failed"]))
    total = (
        "all of ks",
        *(sum(row[i] for row in rows[: len(SETTINGS)]) for i in (1, 2)),
        *("" for _ in columns),
        "",
    )
    header = ("BackupAndRestore of", "kills", "in the writing", *columns, "start failed")
    return report.table(header, [*rows[: len(SETTINGS)], total, *rows[len(SETTINGS) :]])


if __name__ == "__main__":
    main()
