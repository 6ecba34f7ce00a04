"""Records find their row by their keys, and no record, however odd, stops the others."""

from megastyle_cli.report.rows import contents, count, fit, format_number, legend, rows_of


def rendered(style_id, content, **more):
    return {
        "id": f"s{style_id}_c{content}",
        "style_id": style_id,
        "style": f"In the style of {style_id}.",
        "content": content,
        "style_file_name": f"styles/{style_id}.png",
        "file_name": f"images/{style_id}_{content}.png",
        **more,
    }


def test_rendered_records_stand_beside_their_style():
    records = [
        rendered("ink", "a boat", style_score=0.714),
        rendered("oil", "a boat"),
        rendered("ink", "a frog"),
    ]

    ink, oil = rows_of(records)

    assert (ink.kind, ink.head.picture, ink.words) == (
        "style",
        "styles/ink.png",
        "In the style of ink.",
    )
    assert [tile.picture for tile in ink.tiles] == [
        "images/ink_a boat.png",
        "images/ink_a frog.png",
    ]
    assert [(tile.title, tile.badge) for tile in ink.tiles] == [("a boat", "0.71"), ("a frog", "")]
    assert len(oil.tiles) == 1


def test_transfers_without_a_style_id_are_grouped_by_their_reference_picture():
    records = [
        {"id": str(n), "style_file_name": f"{name}.png", "file_name": f"{n}.png"}
        for n, name in enumerate("aba")
    ]

    rows = rows_of(records)

    assert [(row.title, row.size) for row in rows] == [("a", 2), ("b", 1)]


def test_a_query_heads_its_neighbors_in_their_order():
    query = {
        "id": "q",
        "file_name": "q.png",
        "neighbors": [
            {"id": "n1", "score": 0.83, "file_name": "n1.png"},
            {"id": "n2", "score": 0.5, "file_name": "n2.png"},
        ],
    }

    first, second = rows_of([query, query])

    assert (first.kind, first.head.picture) == ("query", "q.png")
    assert [(tile.id, tile.badge) for tile in first.tiles] == [("n1", "0.83"), ("n2", "0.50")]
    assert second.tiles == first.tiles


def test_clusters_come_largest_first_with_their_size_and_typical_prompts():
    odd = "woven wool in red"
    records = [{"id": "lone", "cluster": 3, "style": odd}]
    records += [{"id": str(n), "cluster": 7, "style": f"blue ink on paper {n}"} for n in range(4)]
    records += [{"id": "odd", "cluster": 7, "style": odd}]

    large, small = rows_of(records)

    assert (large.title, small.title) == ("cluster 7 - 5 records", "cluster 3 - 1 record")
    assert "blue ink" in large.words
    assert odd not in large.words


def test_clusters_are_shown_only_while_they_are_the_last_thing_that_happened():
    notes = {"cluster": {"run": "1"}, "synth": {"run": "2"}}
    then_rendered = rendered("ink", "a boat", cluster=4, _megastyle=notes)
    then_clustered = {**then_rendered, "_megastyle": {"synth": {}, "cluster": {}}}

    assert [row.kind for row in rows_of([then_rendered])] == ["style"]
    assert [row.kind for row in rows_of([then_clustered])] == ["cluster"]


def test_other_records_share_one_row():
    (row,) = rows_of([{"id": "a", "file_name": "a.png"}, {"id": "b"}])

    assert row.kind == "all"
    assert [(tile.title, tile.picture) for tile in row.tiles] == [("a", "a.png"), ("b", "")]


def test_odd_values_become_tiles_all_the_same():
    records = [
        {},
        {"id": None, "file_name": 12, "content": ["x"], "score": True, "_megastyle": []},
        {"id": "\ud800", "content": "two\nlines\x00 \ud83d", "cluster": "seven"},
        {"neighbors": [None, "x", {"score": "high"}]},
        {"content": "x" * 10_000},
    ]

    rows = rows_of(records)

    tiles = [tile for row in rows for tile in row.tiles]
    assert len(tiles) == 5
    assert all(tile.alt and tile.title for tile in tiles)
    assert "".join(tile.title + tile.id for tile in tiles).encode().isascii()
    assert max(len(tile.title) for tile in tiles) < 2000


def test_members_beyond_the_limit_are_counted():
    (row,) = rows_of(({"id": str(n)} for n in range(50)), max_tiles=8)

    assert (len(row.tiles), row.size, row.num_more) == (8, 50, 42)


def test_fit_keeps_every_row_within_its_share_of_the_lines():
    rows = rows_of(rendered(style, str(n)) for style in "abc" for n in range(30))

    shown = fit(rows, columns=5, max_lines=7)

    assert [len(row.tiles) for row in shown] == [9, 9, 9]
    assert [row.num_more for row in shown] == [21, 21, 21]
    assert len(fit(rows, columns=5, max_lines=2)) == 2


def test_contents_and_counts_read_as_words():
    assert contents(rows_of([])) == "0 images"
    assert contents(rows_of([rendered("a", "x"), rendered("b", "x")])) == "2 styles, 2 images"
    assert contents(rows_of([{"neighbors": []}])) == "0 neighbors"
    assert count(1200, "query") == "1,200 queries"


def test_only_numbers_are_formatted():
    values = [1200, 0.70249, 48.62, True, "x", None]

    assert [format_number(value) for value in values] == ["1,200", "0.702", "48.6", "", "", ""]


def test_neighbors_are_called_what_the_gallery_calls_them():
    picture_id = "sb54b5beb969b0e1f_c3369aad3ee69611a"
    found = {"id": picture_id, "score": 0.8, "file_name": f"{picture_id}.png"}
    query = {"id": "q", "file_name": "styles/great-wave.png", "neighbors": [found]}
    known = {picture_id: {"id": picture_id, "content": "A frog", "content_file_name": "frog.jpg"}}

    (named,), (unnamed,) = rows_of([query], gallery=known), rows_of([query])

    assert (named.title, named.tiles[0].title, named.tiles[0].content) == (
        "great-wave",
        "A frog",
        "frog.jpg",
    )
    assert unnamed.tiles[0].title == "neighbor 1"


def test_a_restyled_photograph_is_called_by_its_own_name():
    hashed = "b54b5beb969b0e1f.png"
    records = [
        {"style_file_name": "great-wave.jpg", "file_name": "out/owl.png"},
        {"style_file_name": "great-wave.jpg", "file_name": hashed, "content_file_name": "cat.jpg"},
        {"style_file_name": "great-wave.jpg", "file_name": hashed, "content_file_name": "7.jpg"},
        {"style_file_name": "great-wave.jpg", "file_name": hashed},
    ]

    (row,) = rows_of(records)

    assert [tile.title for tile in row.tiles] == ["owl", "cat", "7", "great-wave"]


def test_the_legend_says_what_the_numbers_are():
    scored = rendered("ink", "a boat", style_score=0.714)
    query = {"neighbors": [{"score": 0.5}]}

    assert "style score" in legend(rows_of([scored]))
    assert "query" in legend(rows_of([query]))
    assert legend(rows_of([rendered("ink", "a boat")])) == ""
