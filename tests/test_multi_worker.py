"""MultiWorkerMirroredStrategy: several processes, which decide the masks each by itself."""

import sys
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from forked import Program, script
from helpers import built
from workers import ENVIRONMENT, ROOT, blocks_of, run_workers

import keras_sparse as ks
from examples import local_workers, multi_worker

STEPS, EPOCHS, BATCH = 20, 3, 24  # a batch for two or three workers
# The example with a worker that kills itself before a step. A momentum of 0.5 needs a growth window
# of 16 steps, which opens within each epoch.
MORTAL = """
import json, os, signal
import multi_worker

multi_worker.MOMENTUM = 0.5
make_step = multi_worker.make_step

def make_mortal_step(strategy, model):
    step = make_step(strategy, model)
    def mortal(batch):
        if [strategy.cluster_resolver.task_id, model.optimizer.step()] == kill:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(batch)
    return mortal

kill = json.loads(os.environ["KILL"])
multi_worker.make_step = make_mortal_step
multi_worker.main()
"""
SPOILT = """
agreement = ks.check_agreement(model)
losses = history.history["loss"]
print(agreement.copies, agreement.digest, losses[-1] < losses[0], model.optimizer.step())

def received():
    try:
        ks.check_agreement(model)
    except RuntimeError as error:
        return str(error).split("Received: ")[1]

optimizer = model.optimizer
active = int(list(optimizer.masks.values())[1].sum())
if strategy.cluster_resolver.task_id == 1:
    here = optimizer.mask_variables[1].value.values[0]
    here.assign(tf.zeros_like(here))
masks = "masks differ between worker 0 replica 0 | worker 1 replica 0"
zeros = f"{active} missing weights are not 0 on worker 1 replica 0"
expected = f"'sequential/dense_1/kernel': {masks}; 'sequential/dense_1/kernel': {zeros}"
assert received() == expected, received()
if strategy.cluster_resolver.task_id == 1:
    optimizer.masked_weights = optimizer.masked_weights[:1]
expected = "this worker's masked weights are ['sequential/dense/kernel'"
assert received().startswith(expected), received()
"""


@pytest.fixture
def options(tmp_path):
    """The arguments of examples/multi_worker.py for a checkpoint of this name."""
    rng, count = np.random.default_rng(0), STEPS * BATCH
    images, labels = rng.integers(0, 256, (count, 28, 28), np.uint8), rng.integers(0, 10, count)
    test = {"x_test": images[:8], "y_test": labels[:8]}
    np.savez(tmp_path / "data.npz", x_train=images, y_train=labels, **test)

    def arguments(checkpoint, *others):
        files = ["--data", tmp_path / "data.npz", "--checkpoint", tmp_path / checkpoint]
        return list(map(str, [*files, "--batch", BATCH, "--epochs", EPOCHS, *others]))

    return arguments


@pytest.fixture
def train(options, tmp_path, monkeypatch):
    """Trains by the example, each worker a fork; what they print, and the arrays that are saved."""

    def on_forks(checkpoint, *others, kill="null"):
        outputs = []

        def start(command, env):
            worker = Program(MORTAL, *command[2:], **{**env, **ENVIRONMENT, "KILL": kill})
            end = worker.wait
            worker.wait = lambda: outputs.append("".join(end()[1:]))
            return worker

        with monkeypatch.context() as patch:
            patch.setattr(local_workers, "subprocess", SimpleNamespace(Popen=start))
            patch.setattr(sys, "argv", ["", *options(checkpoint, *others)])
            try:
                multi_worker.main()
            finally:
                sys.stdout.write("\n".join(outputs))  # for the report of a failure
        return outputs[0], saved(tmp_path / checkpoint)

    return on_forks


def saved(file):
    """{path in the file: array}"""
    arrays = {}
    with h5py.File(file) as weights:
        weights.visititems(
            lambda path, item: arrays.update(
                {path: item[()]} if isinstance(item, h5py.Dataset) else {}
            )
        )
    return arrays


def last_line(output):
    return next(line for line in output.splitlines() if "steps; density" in line)


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "kills"), [(2, ["[1, 27]", "[0, 53]"]), (3, ["[2, 21]"])])
def test_a_training_goes_on_after_workers_were_killed(train, tmp_path, workers, kills):
    settings = ("--workers", workers, "--sparse-layers")
    output, undisturbed = train("undisturbed.weights.h5", *settings)
    assert last_line(output).endswith(f"on {workers} replicas")
    for kill in kills:
        again = r"A worker has died. Start again to continue from the last checkpoint. .*-9"
        with pytest.raises(SystemExit, match=again):
            train("killed.weights.h5", *settings, kill=kill)
        backup = saved(tmp_path / "killed.weights.h5")  # the state after an epoch
        assert not all(np.array_equal(backup[key], undisturbed[key]) for key in backup)
    resumed_output, resumed = train("killed.weights.h5", *settings)
    assert f"epoch {len(kills)} of 3" not in resumed_output
    assert f"epoch {len(kills) + 1} of 3" in resumed_output
    assert last_line(resumed_output) == last_line(output)
    assert resumed.keys() == undisturbed.keys()
    assert sum("mask" in key for key in resumed) >= 3
    for key, value in undisturbed.items():  # weights, masks, momenta, counters
        assert value.dtype == resumed[key].dtype, key
        assert value.tobytes() == resumed[key].tobytes(), key


@pytest.mark.slow
def test_the_command_trains_the_masks_of_one_process_on_two_workers(
    options, tmp_path, capfd, monkeypatch
):
    program = ROOT / "examples" / "multi_worker.py"
    one = script(program, *options("alone.weights.h5"), **ENVIRONMENT).wait()
    command = [str(program), *options("workers.weights.h5", "--workers", 2)]
    monkeypatch.setattr(sys, "argv", command)
    multi_worker.main()
    told = capfd.readouterr().out
    assert last_line(one.stdout).replace("on 1", "on 2") == last_line(told)
    alone, workers = (saved(tmp_path / f"{name}.weights.h5") for name in ("alone", "workers"))
    assert alone.keys() == workers.keys()
    for key, value in alone.items():
        if value.dtype == bool:
            np.testing.assert_array_equal(value, workers[key], err_msg=key)
        else:
            np.testing.assert_allclose(value, workers[key], rtol=1e-4, atol=1e-5, err_msg=key)


def test_fit_on_two_workers_as_documented_and_a_worker_that_differs():
    fit_block = blocks_of("distribution.md")[1]
    outputs = run_workers(fit_block + SPOILT, 2)
    assert outputs[0] == outputs[1]
    (alone,) = run_workers(fit_block + SPOILT.split("def received")[0], 1)
    copies, *same = outputs[0].split()
    assert (copies, same) == ("2", alone.split()[1:])
    assert same[1:] == ["True", "60"]


@pytest.mark.slow
def test_the_documented_loop_on_two_workers():
    loop = blocks_of("distribution.md")[0]
    (alone,), outputs = run_workers(loop, 1), run_workers(loop, 2)
    assert outputs == [alone.replace("copies=1", "copies=2")] * 2


INDEPENDENT = """
import keras
from helpers import built
import keras_sparse as ks
keras.utils.set_random_seed(1)
print(ks.check_agreement(built(**SETTINGS)).digest)
model = built(grow="random", redistribute=None, **SETTINGS)
model.set_weights([keras.ops.ones_like(weight) for weight in model.get_weights()])
model.optimizer.apply_masks()
model.optimizer.start_training(8)
model.optimizer.update_masks()
print(ks.check_agreement(model).digest)
"""


def test_masks_made_at_random_are_the_same_in_processes_that_know_nothing_of_each_other(capsys):
    (output,) = run_workers(f"SETTINGS = {{'seed': 3, 'distribution': 'erk'}}\n{INDEPENDENT}", 1)
    exec(
        INDEPENDENT.replace("set_random_seed(1)", "set_random_seed(2)"),
        {"SETTINGS": {"seed": 3, "distribution": "erk"}},
    )
    assert output == capsys.readouterr().out
    assert ks.check_agreement(built(seed=4, distribution="erk")).digest not in output


DRAWN = """
import tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy()
import keras_sparse as ks
from helpers import built
with strategy.scope():
    model = built(seed=None)
print(model.optimizer.seed, ks.check_agreement(model).digest)
"""


@pytest.mark.slow
def test_workers_without_a_seed_take_that_of_the_first():
    one, other = run_workers(DRAWN, 2)
    assert one == other


def test_a_checkpoint_is_whole_or_that_of_the_epoch_before(tmp_path):
    class Dies:
        def save_weights(self, path, overwrite):
            path.write_text("half")
            raise KeyboardInterrupt

    file = tmp_path / "run.weights.h5"
    file.write_text("whole")
    with pytest.raises(KeyboardInterrupt):
        multi_worker.save(Dies(), file)
    assert file.read_text() == "whole"


@pytest.mark.slow
def test_all_workers_scale_their_untrained_weights_alike():
    """Weights are those of the first worker; each worker's initializers have their own seeds."""
    program = """
import hashlib
import keras
import tensorflow as tf
import keras_sparse as ks

with tf.distribute.MultiWorkerMirroredStrategy().scope():
    body = [keras.layers.Dense(8, use_bias=False), keras.layers.Dense(4, use_bias=False)]
    model = keras.Sequential([keras.Input((6,)), *body])
    drawn = abs(body[0].kernel.numpy())
    ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.9), density=0.5).build(model)
weight = abs(body[0].kernel.numpy())
active = weight != 0
print(hashlib.md5(weight.tobytes()).hexdigest(), bool((weight[active] > drawn[active]).all()))
"""
    first, second = run_workers(program, 2)
    assert first == second
    assert first.split()[1] == "True"


def test_a_worker_forgets_that_it_left_a_run_that_was_killed(tmp_path):
    cluster = SimpleNamespace(as_dict=lambda: {"worker": ["first", "second"]})
    resolver = SimpleNamespace(task_id=1, cluster_spec=lambda: cluster)
    checkpoint = tmp_path / "model.weights.h5"
    (file,) = multi_worker.leaving_files(SimpleNamespace(cluster_resolver=resolver), checkpoint)
    file.touch()
    for task, exists in ((0, True), (1, False)):  # the chief leaves it
        resolver.task_id = task
        multi_worker.forget_killed_run(SimpleNamespace(cluster_resolver=resolver), checkpoint)
        assert file.exists() == exists
