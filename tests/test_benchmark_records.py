"""Records of one machine are grouped together, whenever they were made."""

import json

import pytest

from benchmarks import machine, records, time_front
from keras_sparse.compute.processor import name_in

OLD = "AMD EPYC, 1 cores, Linux"
TODAY = "AMD EPYC (Zen 5), one core, Linux"


@pytest.mark.parametrize(
    ("family", "model", "name"),
    [
        (23, 0x31, "AMD EPYC (Zen 2)"),  # 7742
        (25, 0x01, "AMD EPYC (Zen 3)"),  # 7763
        (25, 0x11, "AMD EPYC (Zen 4)"),  # 9654
        (26, 0x02, "AMD EPYC (Zen 5)"),  # 9755
        (26, 0xFF, "AMD EPYC"),
        (99, 0x02, "AMD EPYC"),
    ],
)
def test_family_and_model_give_the_microarchitecture(family, model, name):
    first = f"processor\t: 0\ncpu family\t: {family}\nmodel\t\t: {model}\nmodel name\t: AMD EPYC\n"
    assert name_in(first + "\n" + first.replace(": 0", ": 1")) == name


def test_other_processors_have_the_name_that_the_system_gives():
    intel = "cpu family\t: 6\nmodel\t\t: 143\nmodel name\t: Intel(R) Xeon(R) Platinum 8481C\n"
    assert name_in(intel) == "Intel(R) Xeon(R) Platinum 8481C"
    assert name_in("BogoMIPS\t: 50.00\nFeatures\t: fp asimd\n") is None


@pytest.mark.parametrize(("cores", "words"), [({1}, "one core"), ({0, 1}, "2 cores")])
def test_the_cores_are_those_that_the_process_may_use(monkeypatch, cores, words):
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: cores, raising=False)
    assert machine.machine().split(", ")[-2] == words


def test_an_older_name_is_that_of_the_only_machine_it_can_be():
    two = "AMD EPYC, 2 cores, Linux"
    assert machine.same_names([OLD, TODAY, two]) == {OLD: TODAY, TODAY: TODAY, two: two}


def test_an_older_name_that_can_be_several_machines_stays_apart():
    zen_4 = TODAY.replace("5", "4")
    assert machine.same_names([OLD, TODAY, zen_4])[OLD] == "AMD EPYC, one core, Linux"


def test_records_of_one_machine_make_one_table(tmp_path):
    run = {"network": "net", "images": 100, "threads": 1}
    lines = [{**run, "measured": {"machine": name}} for name in (OLD, TODAY, OLD)]
    path = tmp_path / "runs.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert {time_front.group_of(record) for record in records.read(path)} == {
        ("net", 100, 1, TODAY)
    }


def test_a_page_names_all_dates_and_machines_the_usual_one_first():
    facts = [("2026-11-03", "B"), ("2026-11-01", "A"), ("2026-11-02", "B")]
    lines = [{"measured": {"date": date, "machine": name}} for date, name in facts]
    assert records.circumstances(lines) == {"date": "2026-11-01 to 2026-11-03", "machine": "B; A"}
    assert records.circumstances(lines[:1]) == {"date": "2026-11-03", "machine": "B"}
