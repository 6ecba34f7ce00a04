"""The table: values, ranks and pairs of systems, failures, marks."""

import json

import pytest

from megastyle_cli.benchmark.results_table import build_table, main_measures, tier_values

SYSTEMS = ("a", "b", "c")


def result(system, number, recall, **more):
    line = {"id": f"q{number}", "style_id": f"s{number}", "content_id": "c", "group": f"g{number}"}
    line |= {"tier": "plain", "system": system, "recall_1": recall, "random_recall_1": 0.25}
    line |= {"same_content_1": 0.0, "random_same_content_1": 0.125, "fitted": number < 5}
    facts = {"benchmark": "b1", "recipe": 2, "fingerprint": f"{system}@1"}
    return {**line, "_megastyle": {"eval": facts}, **more}


def results(count=30):
    """System b is perfect, a and c are right in every other query."""
    return [
        result(system, number, 1.0 if system == "b" else float(number % 2))
        for system in SYSTEMS
        for number in range(count)
    ]


def test_a_table_has_values_ranks_pairs_and_marks():
    table = build_table(results(), draws=500)

    assert table["benchmark"] == {
        "hash": "b1",
        "recipe": "2",
        "tiers": ["plain"],
        "queries": {"plain": 30},
        "groups": {"plain": 30},
        "styles": 30,
    }
    a, b, c = table["systems"]
    assert (a["name"], a["fingerprint"], a["missing"]) == ("a", "a@1", 0)
    assert a["trained_on"] == {"styles": 5, "of": 30}
    value = a["measures"]["recall_1"]
    assert value["value"] == 0.5 and value["random"] == 0.25 and value["low"] < 0.4
    assert b["versus"]["recall_1"][0] == 0.5 and b["versus"]["recall_1"][1] > 0
    assert c["versus"]["recall_1"] == [0.0, 0.0, 0.0]
    assert [each["rank"]["recall_1"] for each in (a, b, c)] == [[2, 3], [1, 1], [2, 3]]
    assert [each["letters"]["recall_1"] for each in (a, b, c)] == ["b", "a", "b"]
    pairs = {(p["a"], p["b"]): p for p in table["pairs"]}
    assert pairs["a", "b"]["diff"] == -0.5 and pairs["a", "b"]["differs"]
    assert pairs["a", "c"]["p"] == 1 and not pairs["a", "c"]["differs"]
    assert table["missing"] == {} and table["baseline"] == "a" and table["too_few_groups"] == []


def test_a_query_without_a_line_has_failed_and_is_counted():
    lines = [line for line in results() if (line["system"], line["id"]) != ("b", "q3")]

    table = build_table(lines, draws=100)

    assert table["missing"] == {"b": 1}
    measures = table["systems"][1]["measures"]
    assert measures["recall_1"]["value"] == pytest.approx(29 / 30, abs=1e-4)
    assert measures["same_content_1"]["value"] == pytest.approx(0.125 / 30, abs=1e-4)


def test_pictures_that_systems_lack_are_counted():
    lines = results()
    lines[0]["missing"] = 2

    assert build_table(lines, draws=100)["missing"] == {"a": 2}


def test_few_groups_have_no_intervals_and_are_named():
    table = build_table(results(12))

    assert table["too_few_groups"] == ["plain"]
    assert table["systems"][0]["measures"]["recall_1"].keys() == {"value", "random"}
    assert "low" not in table["pairs"][0] and table["pairs"][0]["p"] == pytest.approx(2 / 2**6)


def test_a_system_that_was_not_run_in_a_tier_is_not_in_it():
    more = [{**line, "tier": "grey"} for line in results() if line["system"] != "c"]

    table = build_table([*results(), *more], draws=100)

    assert table["benchmark"]["tiers"] == ["plain", "grey"]
    assert "grey.recall_1" in table["systems"][1]["measures"]
    assert "grey.recall_1" not in table["systems"][2]["measures"]
    assert table["missing"] == {}


def test_the_order_of_systems_changes_signs_and_nothing_else():
    lines = results()
    by_name = {name: [line for line in lines if line["system"] == name] for name in SYSTEMS}

    one = build_table([*by_name["a"], *by_name["b"]], draws=200)
    other = build_table([*by_name["b"], *by_name["a"]], draws=200)

    assert one["pairs"][0]["diff"] == -other["pairs"][0]["diff"]
    assert one["pairs"][0]["simultaneous"] == [-x for x in other["pairs"][0]["simultaneous"][::-1]]
    measures = [{s["name"]: s["measures"] for s in t["systems"]} for t in (one, other)]
    assert measures[0] == measures[1]


def test_two_calls_give_equal_bytes():
    assert json.dumps(build_table(results(), draws=200)) == json.dumps(
        build_table(results(), draws=200)
    )


def test_whole_numbers_are_values_too():
    lines = [{**line, "recall_1": int(line["recall_1"])} for line in results(4)]

    assert tier_values(lines, "plain").measures["recall_1"].mean() == pytest.approx(2 / 3)


def test_pairs_are_reported_for_the_first_recall_and_the_last_precision():
    names = ["recall_1", "map_csd_1", "map_1", "recall_10", "map_csd_10", "map_10", "csls_map_10"]

    assert main_measures(names) == ["recall_1", "map_10"]
    assert main_measures([*names, "style_score"])[-1] == "style_score"
