"""Compares trainings that were killed and resumed with one that was not, bit for bit.

    python -m benchmarks.resume

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

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1")
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # it makes a process start twice as slowly


from benchmarks import options, report
from benchmarks.interrupted_training import Kill, Setting, train
from benchmarks.resume_tables import CHECKS, KERAS, SETTINGS, Tally, text_of
from benchmarks.training_states import active, masks_of, same, state, steps

IN_A_ROW = 8  # kills of one training
LINES = 90  # that back up, over one backup or two


def main() -> None:
    """Kills, resumes, compares, prints, and writes; fails if ours loses something."""
    arguments = _arguments()
    wanted = {setting: -(-arguments.kills // len(SETTINGS)) for setting in SETTINGS}
    wanted |= {setting: -(-arguments.keras_kills // len(KERAS)) for setting in KERAS}
    done = [tally_of(setting, kills, arguments) for setting, kills in wanted.items()]
    text = text_of(list(wanted), done)
    report.publish(arguments.output, text)
    if any(map(_is_broken, done[: len(SETTINGS)])):
        raise SystemExit("a resumed training differs")


def _is_broken(tally: Tally) -> bool:
    return bool(tally["start failed"]) or any(tally[name] < tally[f"of {name}"] for name in CHECKS)


def tally_of(setting: Setting, kills: int, arguments: argparse.Namespace) -> Tally:
    """Trains and kills until there were this many kills; counts what was found."""
    tally: Tally = collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        undisturbed = folder / "undisturbed"
        run(setting, undisturbed, None)
        for number in itertools.count():
            if tally["kills"] >= kills:
                break
            key = f"{setting} {arguments.seed} {number}"
            found = journal(arguments.journal).get(key)
            if found is None:
                rng = random.Random(key)
                found = train_and_kill(setting, folder / str(number), undisturbed, rng)
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
    found: Tally = collections.Counter()
    writing = float((undisturbed / "seconds").read_text())
    again = folder.with_name(f"{folder.name}_again")  # the folder before the last process
    for kill in [*(random_kill(rng, writing) for _ in range(IN_A_ROW)), None]:
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
        check_restored(setting, folder, again, found)
        was_writing = bool(state(folder, "restored")) and (folder / "writing.npz").exists()
        found["in the writing"] += killed and was_writing
        if not killed:
            break
    check_final(setting, folder, again, undisturbed, found)
    return found


def check(found: Tally, name: str, holds: bool) -> None:
    """Counts one more case, and whether it holds there."""
    found.update({name: int(holds), f"of {name}": 1})


def check_final(
    setting: Setting, folder: Path, again: Path, undisturbed: Path, found: Tally
) -> None:
    """What the training ended with, beside one that was not disturbed, or was resumed twice."""
    final, whole = state(folder, "final"), state(undisturbed, "final")
    check(found, "active constant", active(final) == active(whole))
    if setting.save_freq == "epoch":
        check(found, "final = undisturbed", same(final, whole))
    elif again.exists():
        run(setting, again, None)
        check(found, "repeatable", same(final, state(again, "final")))


def check_restored(setting: Setting, folder: Path, before: Path, found: Tally) -> None:
    """The state restored is one that was backed up, as the folder was before this process."""
    restored, begun = state(folder, "restored"), state(folder, "begun")
    older, newer = state(before, "backup"), state(before, "writing")
    if not restored or not older:
        return  # killed before that, or the first process of a training
    check(found, "restored whole", same(restored, newer) or same(restored, older))
    if newer:
        check(found, "restored the newer", same(restored, newer))
    if setting.save_freq != "epoch" and begun and steps(restored) > 0:
        check(found, "no second update", same(masks_of(begun), masks_of(restored)))


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
        error = (folder / "error").read_text()[-600:]
        raise RuntimeError(f"{setting} {kill} ended with {status}:\n{error}")
    return False


def random_kill(rng: random.Random, writing: float) -> Kill:
    """Two in five before a line of the writing, two at a moment of it, one at any moment."""
    kind = rng.randrange(5)
    if kind < 2:
        return Kill(line=rng.randrange(LINES))
    if kind < 4:
        return Kill(backup=rng.randrange(2), into=rng.uniform(0, 1.2 * writing))
    return Kill(seconds=rng.uniform(0, 1))


def _arguments() -> argparse.Namespace:
    parser = options.parser(__doc__, "resume.md")
    add = parser.add_argument
    add("--kills", type=int, default=1000, help="over all settings")
    add("--keras-kills", type=int, default=100, help="of Keras' own callback, to compare")
    add("--seed", type=int, default=0, help="of the moments at which to kill")
    add("--journal", type=Path, help="a file of what was done, to go on from")
    return parser.parse_args()


if __name__ == "__main__":
    main()
