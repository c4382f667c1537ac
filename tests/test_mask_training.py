"""One training of masks, batch by batch and without a network: expected steps are written out."""

import pytest
from helpers import array, arrays, assert_same, compiled, sgd

import keras_sparse as ks
from keras_sparse.training import mask_training
from keras_sparse.training.epoch_plan import Epoch
from keras_sparse.training.mask_training import MaskTraining

TWO_EPOCHS = {"epochs": 2, "steps": 4}


def optimizer_of(make=ks.SET, density=0.25, **settings):
    """Of a toy model, with its masks; SET grows at random and needs no gradients."""
    model = compiled(make(sgd(), density, **{"seed": 0, **settings}))
    model.optimizer.build(model)
    return model.optimizer


def training_of(optimizer, every="epoch", one_step_a_batch=True, check=lambda: None):
    return MaskTraining(optimizer, every, one_step_a_batch, check)


def go(optimizer, steps=1):
    iterations = optimizer.inner_optimizer.iterations
    iterations.assign(iterations + steps)


def run_epoch(training, number, batches=4, execution=1, steps=1):
    """What ``fit`` does in an epoch; returns the batches before which something is looked at."""
    looks = []
    training.begin_epoch(number)
    for batch in range(0, batches, execution):
        if training.has_to_look(batch):
            looks.append(batch)
        training.begin_batch(batch)
        go(training.optimizer, execution * steps)
        training.end_batch(batch + execution - 1)
    return looks


def run(training, epochs=2, batches=4, execution=1):
    training.begin({"epochs": epochs, "steps": batches}, execution)
    looks = [run_epoch(training, number, batches, execution) for number in range(epochs)]
    training.end()
    return looks


def span(optimizer):
    return optimizer.counter("training_start"), optimizer.counter("training_stop")


@pytest.mark.parametrize(
    ("every", "execution", "expected"),
    [(3, 1, [3, 6]), (3, 2, [4, 6]), ("epoch", 1, [4]), (8, 1, []), (7, 1, [7])],
)
@pytest.mark.filterwarnings("ignore:The masks will not be updated")
def test_masks_change_at_the_steps_asked_for(updates, every, execution, expected):
    run(training_of(optimizer_of(), every), execution=execution)
    assert updates == expected


def test_weights_are_checked_when_epochs_begin_and_after_updates():
    optimizer, checked = optimizer_of(), []
    run(training_of(optimizer, every=3, check=lambda: checked.append(optimizer.step())))
    assert checked == [0, 3, 4, 6]


def test_nothing_is_looked_at_before_it_is_due():
    # the beginnings of epochs, the update at step 50, and the end
    assert run(training_of(optimizer_of(), every=50), batches=40) == [[0], [0, 10, 39]]


def test_an_epoch_is_open_until_the_training_ends():
    optimizer = optimizer_of()
    training = training_of(optimizer)
    training.begin(TWO_EPOCHS, 1)
    for number in (0, 1):
        run_epoch(training, number)
        assert optimizer.counter("epoch") == number + 1
        assert span(optimizer) == (0, 8)
    training.end()
    assert optimizer.counter("epoch") == 0


def test_a_second_fit_is_a_training_of_its_own():
    optimizer = optimizer_of()
    run(training_of(optimizer))
    run(training_of(optimizer), epochs=3)
    assert span(optimizer) == (8, 20)


def test_an_interrupted_epoch_goes_on_in_the_same_training(updates):
    optimizer = optimizer_of()
    training = training_of(optimizer)
    training.begin(TWO_EPOCHS, 1)
    run_epoch(training, 0)
    training.begin_epoch(1)
    go(optimizer)
    resumed = training_of(optimizer)
    resumed.begin(TWO_EPOCHS, 1)
    run_epoch(resumed, 1)
    assert span(optimizer) == (0, 8)
    assert updates == [4]  # at the first beginning of the epoch alone


@pytest.mark.parametrize(
    ("steps", "epochs", "expected"),
    [(1, 2, (0, 8)), (1, 5, (1, 21)), (1, 1, (1, 5)), (0, 3, (0, 12))],
)
def test_a_first_epoch_that_was_stopped_begins_anew_where_the_fit_has_another_length(
    steps, epochs, expected
):
    optimizer = optimizer_of()
    training = training_of(optimizer)
    training.begin(TWO_EPOCHS, 1)
    training.begin_epoch(0)
    go(optimizer, steps)
    again = training_of(optimizer)
    again.begin({"epochs": epochs, "steps": 4}, 1)
    again.begin_epoch(0)
    assert span(optimizer) == expected


def test_an_earlier_epoch_than_the_open_one_begins_anew():
    optimizer = optimizer_of()
    training = training_of(optimizer)
    training.begin({"epochs": 3, "steps": 4}, 1)
    for number in (0, 1, 2):
        run_epoch(training, number)
    again = training_of(optimizer)
    again.begin({"epochs": 3, "steps": 4}, 1)
    again.begin_epoch(1)  # 8 steps are left of the fit
    assert span(optimizer) == (12, 20)


def test_the_first_epoch_tells_the_length_where_it_is_unknown():
    optimizer = optimizer_of()
    training = training_of(optimizer)
    training.begin({"epochs": 3, "steps": None}, 1)
    run_epoch(training, 0)
    assert span(optimizer) == (0, -1)
    run_epoch(training, 1)
    assert span(optimizer) == (0, 12)
    run_epoch(training, 2, batches=5)
    assert span(optimizer) == (0, 12)


def test_a_fit_that_begins_at_a_later_epoch_counts_its_own():
    optimizer = optimizer_of()
    training = training_of(optimizer)
    training.begin({"epochs": 8, "steps": None}, 1)
    run_epoch(training, 5)
    run_epoch(training, 6)
    assert span(optimizer) == (0, 12)


def test_an_epoch_without_a_step_tells_no_length():
    optimizer = optimizer_of()
    go(optimizer, 5)
    training = training_of(optimizer)
    training.begin({"epochs": 3, "steps": None}, 1)
    training.begin_epoch(0)
    training.begin_epoch(1)
    assert span(optimizer) == (5, -1)
    go(optimizer, 4)
    training.begin_epoch(2)
    assert span(optimizer) == (5, 11)  # 4 steps in two epochs


def test_a_fit_that_says_nothing_is_of_one_epoch():
    optimizer = optimizer_of()
    training = training_of(optimizer)
    training.begin({"steps": 4}, 1)
    with pytest.warns(UserWarning, match="not be updated.*epochs=1, steps=4"):
        training.begin_epoch(0)
    assert span(optimizer) == (0, 4)


def test_fits_within_an_announced_training_are_parts_of_it():
    optimizer = optimizer_of()
    optimizer.start_training(16)
    for _ in range(2):
        run(training_of(optimizer))
        assert span(optimizer) == (0, 16)
    run(training_of(optimizer))
    assert span(optimizer) == (16, 24)


def test_a_fit_that_ends_after_an_announced_training_is_another_one():
    optimizer = optimizer_of()
    optimizer.start_training(7)
    run(training_of(optimizer))
    assert span(optimizer) == (0, 8)


def test_an_optimizer_that_keras_builds_in_the_first_batch_takes_part(updates):
    model = compiled(ks.SET(sgd(), 0.25, seed=0))
    optimizer = model.optimizer
    training = training_of(optimizer, every=3)
    training.begin(TWO_EPOCHS, 1)
    training.begin_epoch(0)
    assert training.made_no_step() is False  # no batch has ended
    for batch in range(4):
        training.begin_batch(batch)
        if batch == 0:
            optimizer.build(model)
        go(optimizer)
        training.end_batch(batch)
    assert updates == [3]
    assert (optimizer.counter("epoch"), *span(optimizer)) == (1, 0, 8)
    assert training._epoch == Epoch(number=0, now=0, start=0, stop=8)


def test_an_optimizer_without_a_step_was_not_trained():
    optimizer = optimizer_of()
    go(optimizer, 5)
    training = training_of(optimizer)
    training.begin(TWO_EPOCHS, 1)
    training.begin_epoch(0)
    for batch in (0, 1):
        training.begin_batch(batch)
        training.end_batch(batch)
    assert training.made_no_step()
    go(optimizer)
    assert not training.made_no_step()


def test_an_optimizer_that_the_model_steps_itself_is_counted(updates):
    optimizer = optimizer_of()
    training = training_of(optimizer, every=3, one_step_a_batch=False)
    training.begin(TWO_EPOCHS, 1)
    run_epoch(training, 0, steps=2)
    assert span(optimizer) == (0, 16)  # two steps a batch
    run_epoch(training, 1, steps=2)
    assert updates == [4, 6, 10, 12]  # due at 3, 6, 9 and 12


def test_the_final_density_is_reached_by_a_pruning_of_its_own(monkeypatch):
    prunings, prune = [], ks.SparseMomentum.prune_to_density
    monkeypatch.setattr(
        ks.SparseMomentum,
        "prune_to_density",
        lambda self, density: (prunings.append((self.step(), density)), prune(self, density)),
    )
    density = ks.CubicOverTraining(0.25, end=1.0)
    optimizer = optimizer_of(ks.GradualPruning, density)
    run(training_of(optimizer, every=8), batches=10)
    assert prunings == [(19, 0.25)]  # of 20 steps; the update before it is at step 16
    assert optimizer.total_density() == 0.25


@pytest.mark.parametrize(("window", "is_open"), [("auto", False), (1, True)])
def test_masks_without_rules_are_planned_never(updates, window, is_open):
    optimizer = optimizer_of(ks.StaticSparsity, growth_window=window)
    looks = run(training_of(optimizer))
    assert (looks, updates) == ([[], []], [])
    assert bool(array(optimizer.growth_window_open)) is is_open


@pytest.mark.filterwarnings("ignore:The masks will not be updated")
def test_masks_are_dense_and_sparse_by_turns():
    seen = []
    density = ks.AlternatingOverTraining(0.25, borders=(0.2, 0.4, 0.6))
    optimizer = optimizer_of(ks.ACDC, density)
    training = training_of(
        optimizer, "auto", check=lambda: seen.append((optimizer.step(), optimizer.total_density()))
    )
    run(training, batches=10)  # 20 steps; epochs begin at 0 and 10
    assert seen == [(0, 1.0), (4, 0.25), (8, 1.0), (10, 1.0), (12, 0.25)]


def test_other_masks_begin_a_run_at_this_step():
    optimizer = optimizer_of(initial_masks="magnitude")
    run(training_of(optimizer))
    optimizer.set_counter("epoch", 2)
    optimizer.begin_later()
    optimizer.begin_anew()
    assert optimizer.counter("last_update") == 8
    assert (optimizer.counter("epoch"), *span(optimizer)) == (0, 0, -1)


def test_a_training_ends_with_the_masks_of_weights_that_were_put_back():
    optimizer = optimizer_of()
    best, masks = arrays(optimizer.masked_variables), list(optimizer.masks.values())
    training = training_of(optimizer)
    training.begin(TWO_EPOCHS, 1)
    run_epoch(training, 0)
    run_epoch(training, 1)  # updates the masks
    assert any((old != new).any() for old, new in zip(masks, optimizer.masks.values(), strict=True))
    for variable, weight in zip(optimizer.masked_variables, best, strict=True):
        variable.assign(weight)
    training.end()
    assert_same(optimizer.masks.values(), masks)


def test_what_a_density_will_not_reach_is_told_once(monkeypatch):
    told = []
    monkeypatch.setattr(mask_training, "warn_before", lambda *about: told.append(about))
    run(training_of(optimizer_of()))
    assert len(told) == 1  # in two epochs
