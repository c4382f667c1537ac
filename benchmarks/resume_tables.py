"""The settings of the benchmark of killed trainings, and the table of what was found."""

import collections
import itertools
from collections.abc import Sequence

from benchmarks import report
from benchmarks.interrupted_training import BATCHES, Setting

COMMAND = "python -m benchmarks.resume"
NOTE = """\
A training of six epochs of two steps is killed up to eight times, and resumed each time by a new
process. Two in five kills come before a random line of the callback's code while it writes a
backup (SIGKILL), two in five at a random moment of the writing, and one in five at a random moment
of `fit` (SIGALRM, which also ends a process at once). States are compared bit for bit: weights,
masks, momenta, counters, all other variables of the model and its optimizer, and the epoch that
begins next. Each figure says in how many of the cases it was so.

- in the writing: kills that came while a backup was written.
- restored whole: the state after `on_train_begin` is the last one whose backup was complete, or the
  one that was being written, with its own epoch. Starts that were killed before that do not count.
- restored the newer: after a kill in the writing, the newer of the two.
- final = undisturbed: the training ends with the state of one that was never killed. A training
  that was backed up within an epoch begins that epoch again, as in Keras, from the state it had
  reached: it makes other steps, and the next two columns say what can be asked of it.
- no second update: the masks of an epoch that had begun are not updated again.
- repeatable: two trainings resumed from the same backup end with the same state.
- active constant: as many active weights at the end as at the beginning.
- start failed: `fit` raised an error when it began, and that training was lost.
"""
CHECKS = (
    *("restored whole", "final = undisturbed", "no second update", "repeatable"),
    "active constant",
)
Tally = collections.Counter[str]
SETTINGS = [
    Setting("keras_sparse", save_freq, double, masks)
    for save_freq, double, masks in itertools.product(
        ("epoch", BATCHES), (False, True), ("before", "after")
    )
]
KERAS = [Setting("keras", "epoch", double, "before") for double in (False, True)]


def text_of(wanted: Sequence[Setting], done: Sequence[Tally]) -> str:
    """The file of results."""
    return report.header("Killed and resumed", COMMAND) + f"{NOTE}\n{results_table(wanted, done)}"


def results_table(wanted: Sequence[Setting], done: Sequence[Tally]) -> str:
    """A row for each setting."""
    columns = ("restored whole", "restored the newer", *CHECKS[1:])
    rows = []
    for setting, tally in zip(wanted, done, strict=True):
        pairs = [(tally[name], tally[f"of {name}"]) for name in columns]
        cells = [f"{holds} of {cases}" if cases else "-" for holds, cases in pairs]
        kills = (tally["kills"], tally["in the writing"])
        rows.append((_name(setting), *kills, *cells, tally["start failed"]))
    sums = [sum(row[i] for row in rows[: len(SETTINGS)]) for i in (1, 2)]
    total = ("all of ks", *sums, *("" for _ in columns), "")
    header = ("BackupAndRestore of", "kills", "in the writing", *columns, "start failed")
    return report.table(header, [*rows[: len(SETTINGS)], total, *rows[len(SETTINGS) :]])


def _name(setting: Setting) -> str:
    module = "ks" if setting.callback == "keras_sparse" else "keras.callbacks"
    is_each = setting.save_freq == "epoch"
    often = "every epoch" if is_each else f"every {setting.save_freq} batches"
    double = ", double" if setting.double else ""
    return f"{module}, {often}{double}, UpdateMasks {setting.masks} it"
