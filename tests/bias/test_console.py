"""Both tables: a line per style, intervals where there are some."""

from megastyle_cli.bias.console import association_table, intrusion_table, kept_table

ROW = {"style": "ink wash", "association": 1.234, "p_holm": 0.0123, "contents": 32}
ROW |= {"nouns": [{"noun": "pagoda", "association": 2.0}, {"noun": "fan", "association": 0.5}]}


def test_a_style_has_its_rise_p_and_objects():
    bounds = {"association_low": 1.1, "association_high": 1.4, "floor": 0.25}

    head, one, other = association_table({"bias": [ROW | bounds, ROW]}).splitlines()

    assert head.split()[:2] == ["style", "rise"]
    assert one.split() == [
        *("ink", "wash", "+1.23", "[1.10,", "1.40]", "0.012"),
        *("pagoda", "+2.00,", "fan", "+0.50", "(floor", "+0.25)"),
    ]
    assert "[" not in other and "floor" not in other


def test_styles_that_keep_least_come_first():
    summary = {"kept": 0.5, "kept_low": 0.4, "kept_high": 0.6, "styles": 2, "left_out": 1}
    summary["kept_by_style"] = {"ink": 0.75, "oil": 0.25}

    lines = kept_table(summary).splitlines()

    assert lines[1].split() == ["kept", "0.500", "[0.40,", "0.60]"]
    assert [line.split()[0] for line in lines[-2:]] == ["oil", "ink"]
    assert "lost_share" not in "".join(lines)


def test_an_intrusion_has_its_objects_and_the_questions_are_counted():
    row = {"style": "ukiyo-e", "intrusion": 0.5, "intrusion_low": 0.3, "intrusion_high": 0.7}
    row |= {"p_holm": 0.004, "contents": 32, "objects": [{"object": "kimono", "seen": 16}]}
    counts = {"asked": 1200, "known": 3, "inconsistent": 2, "invalid": {"refusal": 4}}

    head, line, last = intrusion_table({"bias": [row], "questions": counts}).splitlines()

    assert line.split() == ["ukiyo-e", "+0.50", "[0.30,", "0.70]", "0.004", "kimono", "16/32"]
    assert "intrusion" in head and last.startswith("1,200 questions asked, 3 known before, 4 inv")
