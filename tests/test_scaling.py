"""The formulas of the scaling benchmark give what one computes by hand."""

import pytest

from benchmarks import scaling


def test_an_update_is_decided_and_copied():
    # 8 weights: 2 s each to decide; 15 bytes each to the host and 1 to each of 5 devices, at 10 B/s
    assert scaling.update_seconds(8, 2e9, host_link=10.0, devices=5) == pytest.approx(8 * (2 + 2))


def test_updates_take_their_share_of_the_time():
    step = scaling.shortest_step(update=3.0, every=20, share=0.1)
    assert 3.0 / (3.0 + 20 * step) == pytest.approx(0.1)


def test_a_ring_sends_twice_all_but_ones_own_part():
    assert scaling.all_reduce_bytes(100, 1) == 0
    assert scaling.all_reduce_bytes(100, 4) == 600  # 100 float32, three quarters of it twice


def test_the_table_has_a_row_for_each_number_of_weights(capsys):
    scaling.main(["--weights", "1e6", "1e9", "--update-ns", "8", "--host-link", "1e10"])
    rows = [line.strip("| ").split("|") for line in capsys.readouterr().out.splitlines()[2:4]]
    # 1 M weights: 8 ms, and 23 bytes each in 2.3 ms; a step of 10.3 ms x 99 / 1000
    assert [cell.strip() for cell in rows[0]] == [
        "1 M",
        "0.0103",
        "1.02",
        "0.007",
        "0.008",
        "0.001",
    ]
    assert [cell.strip() for cell in rows[1]] == ["1,000 M", "10.3", "1.02e+03", "7", "8", "1"]
