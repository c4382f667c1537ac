"""Is a training that was killed and resumed the training that was not?

    python benchmarks/resume.py --output benchmarks/results/resume.md

A process trains a small network with Keras' BackupAndRestore and is killed (SIGKILL) at a random step; another process
resumes. UpdateMasks is listed before BackupAndRestore or after it, the backup is made every epoch or every few batches.
"""

import argparse
import concurrent.futures
import dataclasses
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import report

EPOCHS, STEPS = 6, 20  # as in interrupted_training.py, which imports TensorFlow
BATCHES = 7  # between backups that are not made every epoch
COMMAND = "python benchmarks/resume.py --output benchmarks/results/resume.md"
NOTE = """Each figure says in how many of the kills it was so. States are compared bit for bit: weights, masks, momenta, counters and all other
variables of the model and its optimizer.

- restored = backed up: the state after `on_train_begin` is the one that was backed up last. A training that was killed before its first
  backup begins anew and does not count here.
- final = undisturbed: the resumed training ends with the very state of one that was never killed. Backups between epochs promise that.
  A training backed up within an epoch begins that epoch again in Keras, from the state in its midst: it makes other steps than the
  undisturbed one, and what can be asked is the next three columns.
- no second update: the masks of an epoch that had begun are not updated again when it is begun again.
- active constant: as many active weights at the end as at the beginning.
- repeatable: two trainings resumed from the same backup end with the same state.
"""
State = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Setting:
    """How the training is backed up."""

    save_freq: str  # "epoch" or a number of batches
    masks: str  # UpdateMasks listed "before" or "after" BackupAndRestore


SETTINGS = [Setting(save_freq, masks) for save_freq in ("epoch", str(BATCHES)) for masks in ("before", "after")]


def main() -> None:
    """Kills, resumes, compares, prints, and writes if asked; fails if a state differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="over all settings")
    parser.add_argument("--seed", type=int, default=0, help="of the steps at which to kill")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--output", type=Path, help="a Markdown file to write")
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    trials = [(setting, kill_step(setting, rng)) for setting in SETTINGS for _ in range(arguments.kills // len(SETTINGS))]
    with concurrent.futures.ThreadPoolExecutor(arguments.workers) as pool, tempfile.TemporaryDirectory() as folder:
        undisturbed = dict(zip(SETTINGS, pool.map(lambda s: run_undisturbed(s, Path(folder)), SETTINGS), strict=True))
        results = list(pool.map(lambda trial: run_trial(*trial, undisturbed[trial[0]], Path(folder)), trials))
    found = [(setting, step, checks) for (setting, step), checks in zip(trials, results, strict=True)]
    text = report.header("Killed and resumed", COMMAND) + f"{NOTE}\n{results_table(found)}"
    print(text)
    if arguments.output:
        report.write(arguments.output, text)
    if not all(check for checks in results for check in checks.values()):
        raise SystemExit("a resumed training differs")


def kill_step(setting: Setting, rng: random.Random) -> int:
    """A random optimizer step; within epochs not before the first backup."""
    first = 1 if setting.save_freq == "epoch" else int(setting.save_freq)
    return rng.randint(first, EPOCHS * STEPS)


def run_undisturbed(setting: Setting, parent: Path) -> State:
    """The final state of a training that nobody kills."""
    folder = Path(tempfile.mkdtemp(dir=parent))
    train(setting, folder)
    return state(folder, "final")


def run_trial(setting: Setting, step: int, undisturbed: State, parent: Path) -> dict[str, bool]:
    """Kills one training at this step, resumes it twice from the same backup, and says which of the promises hold."""
    folder = Path(tempfile.mkdtemp(dir=parent))
    train(setting, folder, kill_at=step)
    again = Path(f"{folder}_again")
    shutil.copytree(folder, again)
    train(setting, folder)
    restored, final = state(folder, "restored"), state(folder, "final")
    checks = {"active constant": active(final) == active(undisturbed) == active(state(folder, "begun"))}
    if (again / "backup.npz").exists():  # else it was killed before the first backup, and begins anew
        backed_up = state(again, "backup")
        checks["restored = backed up"] = same(restored, backed_up)
        if setting.save_freq != "epoch":
            checks["no second update"] = same(*(masks_of(s) for s in (state(folder, "begun"), backed_up)))
    if setting.save_freq == "epoch":
        checks["final = undisturbed"] = same(final, undisturbed)
    else:
        train(setting, again)
        checks["repeatable"] = same(final, state(again, "final"))
    return checks


def train(setting: Setting, folder: Path, kill_at: int = 0) -> None:
    """One process; raises unless it ends as it should."""
    script = Path(__file__).with_name("interrupted_training.py")
    options = {"--folder": folder, "--save-freq": setting.save_freq, "--masks": setting.masks, "--kill-at": kill_at}
    command = [sys.executable, str(script), *(str(part) for option in options.items() for part in option)]
    ended = subprocess.run(command, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}, capture_output=True, text=True, check=False)
    if ended.returncode != (-signal.SIGKILL if kill_at else 0):
        raise RuntimeError(f"{command} ended with {ended.returncode}:\n{ended.stderr}")


def state(folder: Path, name: str) -> State:
    """A state that the training has written."""
    with np.load(folder / f"{name}.npz") as arrays:
        return dict(arrays)


def same(one: State, other: State) -> bool:
    """The same variables, bit for bit."""
    return one.keys() == other.keys() and all(one[key].dtype == other[key].dtype and one[key].tobytes() == other[key].tobytes() for key in one)


def masks_of(full: State) -> State:
    """The masks, and when they were last updated."""
    return {key: value for key, value in full.items() if key.endswith(("_mask", "last_update"))}


def active(full: State) -> int:
    """Active weights in all."""
    return sum(int(value.sum()) for key, value in full.items() if key.endswith("_mask"))


def results_table(found: Iterable[tuple[Setting, int, dict[str, bool]]]) -> str:
    """A row for each setting."""
    columns = ("restored = backed up", "final = undisturbed", "no second update", "active constant", "repeatable")
    rows = []
    for setting in SETTINGS:
        mine = [(step, checks) for s, step, checks in found if s == setting]
        counts = [[checks[column] for _, checks in mine if column in checks] for column in columns]
        cells = [f"{sum(count)} of {len(count)}" if count else "-" for count in counts]
        backup = "every epoch" if setting.save_freq == "epoch" else f"every {setting.save_freq} batches"
        rows.append((f"{backup}, UpdateMasks {setting.masks} it", ", ".join(str(step) for step in sorted(step for step, _ in mine)), *cells))
    return report.table(("backup", "killed at step", *columns), rows)


if __name__ == "__main__":
    main()
