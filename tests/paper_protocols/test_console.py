"""The table of protocols names value, scale, model and preprocessing of each."""

from megastyle_cli.paper_protocols.console import protocol_table

MODEL = {"model": "clip@12ab", "revision": "32bd6428", "preprocessing": "shorter side to 224 px"}


def test_each_protocol_has_its_line_and_what_fixes_it():
    text = {"protocol": "clip-text", "value": 23.2, "low": 22.0, "high": 24.5, "random": 15.1}
    text |= {"scale": "cosine x logit scale", "definition": "mean cosine", "models": [MODEL]}
    gap = {"protocol": "gap", "value": 0.2, "negative": 3, "styles": 91, "scale": "cosine"}
    gap |= {"definition": "within less between", "models": [{"model": "builtin"}]}

    table = protocol_table({"protocols": [{**text, "cosine": 0.232}, gap]})

    head, first, second, *rest = table.splitlines()
    assert first.split()[:5] == ["clip-text", "23.200", "[22.000,", "24.500]", "15.100"]
    assert first.endswith("cosine x logit scale") and head.endswith("scale")
    assert second.split() == ["gap", "0.200", "cosine"]
    assert "  cosine 0.232" in rest
    assert "  clip@12ab, revision 32bd6428: shorter side to 224 px" in rest
    assert "  styles 91 \u00b7 negative 3" in rest and "  builtin: its own preprocessing" in rest
