"""Both tables: a line per style, intervals where there are some."""

from megastyle_cli.bias.console import association_table, kept_table

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
