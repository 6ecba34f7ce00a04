"""Styles and contents for tests: as earlier commands write them, and every odd kind."""

from megastyle_cli.core.record import Record

STYLES: list[Record] = [
    {
        "id": "629f6fbed82c07cd",
        "file_name": "imgs/a/1.jpg",
        "license": "cc0",
        "style": "In the style of collage, teal.",
        "content": "what the style picture shows",
        "style_medium": "gouache",
        "style_colors": "teal",
        "style_light": None,
        "cluster": 4,
        "_megastyle": {"caption": {"run": "8f3c2a1d"}, "dedup": {"on": ["style"], "kept": True}},
    },
    {"id": "b", "style": 'say "ink" \\ \n \u6c34\u5f69 \U0001f3a8', "n": 1.5, "m": -0.0},
    {"id": "c", "style_file_name": "refs/c.png", "style": 7, "empty": {}, "none": [], "x": None},
    {"id": "d", "style": "ink", "content_license": "stale", "content_cluster": 3},
    {"id": "e", "style": "ink", "file_name": "imgs/\udcff.jpg"},
    {"id": "f", "style": " \u3000", "file_name": "imgs/a/f.jpg", "style_file_name": "other.png"},
    {"id": 'g \u00e9"', "style": "ink \ud800 alone", "license": "\u00e9"},
    {"id": "h", "style": "ink", "big": 2**70, "small": 1e-7, "list": [{"a": [1, 2.5]}, "\u007f"]},
    {"id": "i", "style": "ink", "neighbors": [{"file_name": "n.png"}], "target_file_name": "t.png"},
    {"id": "j", "style": "ink", "file_name": "https://example.org/a/b.png", "_megastyle": {}},
    {"id": "k", "style": "ink" * 5000, "file_name": "k.jpg", "style_file_name": None},
    {"id": "l", "style": "ink", "file_name": "../up/l.jpg", "style_id": "of a pair", 'a"b': 1},
]
CONTENTS: list[Record] = [
    {
        "id": "0c77250f591116f4",
        "file_name": "imgs/b/2.jpg",
        "license": "cc-by",
        "style": "In the style of photography.",
        "content": "Frog on a leaf",
        "style_colors": "green",
        "cluster": 9,
        "_megastyle": {"caption": {"run": "11111111"}},
    },
    *(
        {**style, "id": f"{style['id']} too", "content": f"{style.get('style')}"}
        for style in STYLES
    ),
    {"id": "p", "content_file_name": "c.png", "content": None},
    {"id": "q", "content": "a \t fox", "cluster": 1.25, "content_x": 0},
    {"id": "r", "content": "\ud83c alone"},
]
