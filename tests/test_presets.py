"""What each preset stands for; how they act is in test_optimizers.py."""

import inspect

import keras
import pytest

import keras_sparse as ks
from keras_sparse.rules import density, scores
from keras_sparse.training.settings import AllSettings

PRESETS = {
    # prune, grow, redistribute, distribution, prune rate at the start and the end of a training
    ks.RigL: (scores.magnitude, scores.gradient, None, "erk", (0.3, 0.0)),
    ks.SET: (scores.magnitude, scores.random, None, "erdos_renyi", (0.3, 0.3)),
    ks.GraNet: (scores.magnitude, scores.gradient, None, "erk", (0.5, 0.005)),
    ks.SparseMomentum: (
        scores.magnitude,
        scores.momentum,
        scores.mean_momentum,
        "uniform",
        (0.5, 0.005),
    ),
}


ALL = [ks.RigL, ks.SET, ks.StaticSparsity, ks.GradualPruning, ks.GraNet, ks.ACDC]


@pytest.mark.parametrize("make", list(PRESETS))
def test_rules(make):
    optimizer = make(keras.optimizers.Adam(), 0.1)
    prune, grow, redistribute, distribution, (first, last) = PRESETS[make]
    assert (optimizer.prune, optimizer.grow, optimizer.redistribute) == (prune, grow, redistribute)
    assert density.NAMED[optimizer.distribution] is density.NAMED[distribution]
    rate = optimizer.prune_rate
    assert ((rate(0.0), rate(1.0)) if callable(rate) else (rate, rate)) == pytest.approx(
        (first, last)
    )


@pytest.mark.parametrize("make", ALL)
def test_no_preset_needs_a_momentum(make):
    assert make("sgd", 0.1).inner_optimizer.momentum == 0


@pytest.mark.parametrize("make", [ks.RigL, ks.SET, ks.GradualPruning, ks.GraNet, ks.ACDC])
def test_settings_override_the_preset(make):
    assert (
        make("sgd", 0.1, prune_rate=0.2, seed=5, initial_masks="magnitude").get_config()[
            "prune_rate"
        ]
        == 0.2
    )


def test_static_sparsity_has_no_rules():
    optimizer = ks.StaticSparsity("sgd", 0.1)
    assert (optimizer.prune, optimizer.grow, optimizer.redistribute) == (None, None, None)


def test_gradual_pruning_ends_at_three_quarters():
    schedule = ks.GradualPruning("sgd", 0.2).density
    assert (schedule(0.0), schedule(0.75), schedule(1.0)) == pytest.approx((1.0, 0.2, 0.2))


@pytest.mark.parametrize("make", ALL)
def test_density_is_checked(make):
    with pytest.raises(ValueError, match="Received: (density|final)=1.5"):
        make("sgd", 1.5)


@pytest.mark.parametrize("make", ALL)
def test_a_typo_is_told_with_the_function_that_was_called(make):
    name = make.__name__
    with pytest.raises(
        TypeError, match=rf"{name}\(\) has no argument `disribution`. Did you mean `distribution`\?"
    ):
        make("sgd", 0.1, disribution="erk")


def test_a_typo_after_a_right_name_is_told():
    with pytest.raises(TypeError, match=r"no argument `prun`. Did you mean `prune`\?"):
        ks.RigL("sgd", 0.1, seed=0, prun="magnitude")


def test_a_typo_in_the_callback_is_told():
    with pytest.raises(
        TypeError,
        match=r"UpdateMasks\(\) has no argument `evry`. Did you mean `every`\? Received: evry=3",
    ):
        ks.UpdateMasks(evry=3)
    with pytest.raises(
        TypeError, match=r"UpdateMasks\(\) has no argument `zzz`. It takes .*'density'.*'every'"
    ):
        ks.UpdateMasks(zzz=3)


def test_static_sparsity_has_no_rules_to_set():
    with pytest.raises(
        TypeError,
        match=r"StaticSparsity\(\) has no argument `prune`.*Use SparseMomentum.*"
        r"Received: prune='magnitude'",
    ):
        ks.StaticSparsity("sgd", 0.1, prune="magnitude")


def test_static_sparsity_takes_the_rules_that_it_has():
    settings = ks.StaticSparsity("sgd", 0.1, prune=None, redistribute=None, grow=None).get_config()
    assert settings["prune"] is settings["redistribute"] is settings["grow"] is None


def test_granet_falls_to_the_density_in_half_of_the_training_and_prunes_globally():
    optimizer = ks.GraNet("sgd", 0.1)
    assert optimizer.density.get_config() == ks.CubicOverTraining(0.1, 0.5, end=0.5).get_config()
    assert optimizer.scope == "global"
    assert ks.GraNet("sgd", 0.1, initial_density=1.0).density(0.0) == 1.0
    assert ks.GraNet("sgd", 0.7).density(0.0) == 0.7  # it starts at its end
    assert ks.GraNet("sgd", ks.CubicOverTraining(0.2, 1.0)).density(0.0) == 1.0


def test_granet_from_trained_weights_lets_magnitudes_decide():
    assert ks.GraNet("sgd", 0.1, initial_masks="magnitude").distribution == "uniform"
    of_layers = ks.GraNet("sgd", 0.1, initial_masks="magnitude", scope="layer")
    assert of_layers.distribution == "erk"


def test_granet_by_momentum_needs_one():
    with pytest.raises(ValueError, match="need a momentum and this optimizer keeps none"):
        ks.GraNet("sgd", 0.1, grow="momentum")
    with_momentum = ks.GraNet(keras.optimizers.SGD(momentum=0.9), 0.1, grow="momentum")
    assert with_momentum.growth_window_steps() == 50


@pytest.mark.parametrize(
    ("density", "initial", "message"),
    [
        (0.5, 0.4, "must be at least `density`, 0.5. Received: initial_density=0.4"),
        (0.5, 1.5, "Received: initial_density=1.5"),
        (ks.CubicOverTraining(0.1), 0.5, "a schedule says so itself.*initial_density=0.5"),
    ],
)
def test_granet_does_not_begin_below_its_end(density, initial, message):
    with pytest.raises(ValueError, match=message):
        ks.GraNet("sgd", density, initial_density=initial)


def test_settings_are_the_arguments_of_the_optimizer():
    parameters = inspect.signature(ks.SparseMomentum.__init__).parameters
    assert set(AllSettings.__annotations__) == set(parameters) - {"self", "inner_optimizer"}


# --- the phases of AC/DC


@pytest.mark.parametrize(
    "borders",
    [
        (),
        (0.2, 0.4),
        (0.4, 0.2, 0.6),
        (0.2, 0.2, 0.6),
        (-0.1,),
        (1.0,),
        (0.1, 0.4, 1.5),
        (-0.1, 0.4, 0.6),
        1,
    ],
)
def test_borders_of_phases_are_an_odd_number_of_ascending_shares(borders):
    with pytest.raises(ValueError, match="an odd number of ascending values in .0, 1.*Received"):
        ks.AlternatingOverTraining(0.1, borders)


def test_a_phase_begins_at_its_border():
    density = ks.AlternatingOverTraining(0.1, borders=(0.0, 0.3, 0.6))  # 3 * 0.1 is above 0.3
    shares = (0.0, 0.29, 3 * 0.1, 0.3 - 1e-12, 0.59, 0.6, 1.0)
    assert [density(share) for share in shares] == [0.1, 0.1, 1.0, 1.0, 1.0, 0.1, 0.1]
    assert density.first_steps(10, 20) == [10, 10, 13, 16]


def test_the_phases_of_acdc_are_those_of_the_paper():
    borders = ks.ACDC("sgd", 0.1).density.borders  # dense for 10 %, then by turns for 5 %
    assert borders == pytest.approx(
        [0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.85]
    )


def test_acdc_takes_borders_or_a_schedule_that_has_them():
    assert ks.ACDC("sgd", 0.1, borders=(0.5,)).density.borders == (0.5,)
    schedule = ks.AlternatingOverTraining(0.1, borders=(0.5,))
    assert ks.ACDC("sgd", schedule).density.borders == (0.5,)
    with pytest.raises(ValueError, match="has borders of its own. Received: borders=.0.5"):
        ks.ACDC("sgd", schedule, borders=(0.5,))
    with pytest.raises(ValueError, match="others never rise. Received: density="):
        ks.ACDC("sgd", ks.CubicOverTraining(0.1))


@pytest.mark.parametrize(
    "preset", [ks.RigL, ks.SET, ks.GraNet, ks.ACDC, ks.StaticSparsity, ks.GradualPruning]
)
def test_the_optimizer_and_the_density_may_come_by_place_and_all_else_by_name(preset):
    (first, second, *others) = inspect.signature(preset).parameters.values()
    assert (first.name, second.name) == ("inner_optimizer", "density")
    assert first.kind == second.kind == inspect.Parameter.POSITIONAL_OR_KEYWORD
    by_name = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    assert all(other.kind in by_name for other in others)
