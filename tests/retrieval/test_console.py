"""On a terminal a query is its name, then the score and name of each neighbor."""

from megastyle_cli.retrieval.console import describe_neighbors


def test_neighbors_are_lines_under_the_query():
    neighbors = [
        {"id": "1", "score": 0.912, "file_name": "gallery/h\x1b.jpg"},
        {"id": "2", "score": -0.5},
    ]
    record = {"id": "a", "file_name": "owl.jpg", "neighbors": neighbors}

    assert describe_neighbors(record) == "owl.jpg\n  0.91  gallery/h\\x1b.jpg\n  -0.50  2\n"


def test_words_and_groups_are_named_and_an_empty_index_is_said():
    assert describe_neighbors({"id": "a", "text": "ink", "neighbors": []}) == (
        "ink\n  nothing found\n"
    )
    assert describe_neighbors({"id": "a", "artist": "x", "neighbors": []}, "artist").startswith("x")
