"""On a terminal a caption is its file name, style and content."""

from megastyle_cli.captioning.console import describe_caption


def test_a_caption_has_style_and_content_if_they_are_known():
    record = {"id": "a", "file_name": "owl.jpg", "style": "ink wash", "content": "an owl"}

    assert describe_caption(record) == "owl.jpg\n  style    ink wash\n  content  an owl\n"
    assert describe_caption({"id": "a", "content": "an owl"}) == "a\n  content  an owl\n"
    assert describe_caption({"id": "a", "style": None}) == "a\n"
