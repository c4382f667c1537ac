"""Are the formulas of the scaling benchmark what one gets by hand?"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import scaling_model as model

LINK = model.Link("ten bytes a second", 10.0, 0.5)
COSTS = model.HostCosts(read=1.0, score=1.5, select=3.0, write=4.0, rest=0.5, pack=0.5, unpack=0.25)
MACHINE = model.Machine(
    flops=60.0, memory=330.0, host_link=1.0, replicas_per_host=2, cores=4, uses=4.0
)


def test_a_ring_sends_twice_all_but_ones_own_part():
    assert model.all_reduce_bytes(100, 1) == 0
    assert model.all_reduce_bytes(100, 2) == 400  # 100 float32, half of it twice
    assert model.all_reduce_bytes(100, 4) == 600


def test_a_ring_makes_two_rounds_of_hops():
    assert model.all_reduce_seconds(100, 4, LINK) == 60 + 6 * 0.5


@pytest.mark.parametrize(
    ("window", "every", "values"), [(0, 10, 100), (5, 10, 550), (10, 10, 1000), (100, 10, 1000)]
)
def test_outside_of_the_window_only_active_weights_have_gradients(window, every, values):
    assert model.gradient_values(1000, 0.1, window, every) == pytest.approx(values)


def test_a_step_takes_as_long_as_the_longer_of_computing_and_sending():
    assert model.step_seconds(10, 1, LINK, MACHINE) == 6 * 10 * 4 / 60
    assert (
        model.step_seconds(10, 2, LINK, MACHINE) == 40 / 10 + 2 * 0.5
    )  # 4 seconds of computing are less


def test_replicas_that_share_one_batch_compute_less_each():
    fast = model.Link("fast", 1e9, 0.0)
    assert model.step_seconds(10, 4, fast, MACHINE) == 4
    assert model.step_seconds(10, 4, fast, MACHINE, whole_batch=True) == 1


@pytest.mark.parametrize(("replicas", "hosts"), [(1, 1), (2, 1), (3, 2), (8, 4)])
def test_hosts_have_so_many_replicas(replicas, hosts):
    assert model.hosts_of(replicas, MACHINE) == hosts


def test_a_host_that_decides_by_itself_reads_decides_and_writes_to_each_device():
    # 8 weights: decide 6 each, read 15 bytes each, write 4 and a byte for each of two devices
    assert model.each_decides(8, 8, COSTS, MACHINE) == 48 + 120 + 8 * (4 + 2)
    assert model.each_decides(8, 1, COSTS, MACHINE) == 48 + 120 + 8 * (4 + 1)


def test_one_process_sends_a_byte_a_weight_to_every_far_replica():
    # 6 replicas are on other hosts: 48 bytes, ten a second
    assert model.one_process_assigns(8, 8, COSTS, MACHINE, LINK) == pytest.approx(
        48 + 120 + 48 + 4.8
    )


def test_cores_that_share_the_layers_decide_a_part_each():
    assert model.each_decides_on_cores(8, 8, COSTS, MACHINE) == 48 / 4 + 120 + 48


def test_what_one_host_decides_is_packed_sent_and_unpacked():
    # 8 weights are one byte: 0.1 s; three hops to four hosts: 1.5 s; pack 4, unpack 2
    assert model.one_decides(8, 8, COSTS, MACHINE, LINK) == pytest.approx(
        48 + 120 + 48 + 4 + 0.1 + 1.5 + 2
    )


def test_hosts_that_share_the_layers_decide_a_part_each():
    # a quarter each: decide 12, pack 1, read 30; 3/4 of a byte: 0.075; 2 x 3 hops: 3; unpack 6 weights: 1.5; write 48
    assert model.sharded_by_layer(8, 8, COSTS, MACHINE, LINK) == pytest.approx(
        12 + 1 + 30 + 0.075 + 3 + 1.5 + 48
    )


def test_the_host_with_the_largest_layer_is_waited_for():
    evenly = model.sharded_by_layer(8, 8, COSTS, MACHINE, LINK)
    assert model.sharded_by_layer(8, 8, COSTS, MACHINE, LINK, largest_part=4) == pytest.approx(
        evenly + 2 * (6 + 0.5 + 15)
    )


@pytest.mark.parametrize(
    "way", [model.one_process_assigns, model.one_decides, model.sharded_by_layer]
)
def test_on_one_host_nothing_is_sent(way):
    assert way(8, 2, COSTS, MACHINE, LINK) == model.each_decides(8, 2, COSTS, MACHINE)


def test_bisection_passes_over_all_weights_31_times_for_each_threshold():
    assert model.bisected_on_device(66, MACHINE) == 64 * 5 * 66 / 330


def test_a_bit_a_weight():
    assert model.packed_bytes(80) == 10


def test_the_share_of_training():
    assert model.share_of_training(update=1.0, step=0.1, every=90) == pytest.approx(0.1)
    assert model.steps_between_updates(update=1.0, step=0.1, share=0.1) == 90
    assert model.steps_between_updates(update=1e-9, step=1.0, share=0.5) == 1
