"""The tree of clusters nests as the clusters do and says their sizes."""

from megastyle_cli.report.cluster_tree import tree_html


def test_a_coarse_cluster_opens_into_its_fine_ones_largest_first():
    records = [
        {"id": str(i), "style": f"style {fine}", "cluster": fine, "cluster_2": coarse}
        for i, (fine, coarse) in enumerate([(3, 1), (0, 0), (0, 0), (2, 0), (1, 1), (1, 1), (1, 1)])
    ]

    tree = tree_html(records)

    names = ("cluster_2 1", "cluster 1", "cluster 3", "cluster_2 0", "cluster 0", "cluster 2")
    order = [tree.index(f"<b>{name}</b>") for name in names]
    assert tree.count("<details>") == 2
    assert "4 records" in tree
    assert "3 records" in tree
    assert order == sorted(order)


def test_words_are_escaped_and_one_level_is_no_tree():
    records = [{"id": "a", "style": '<script>"', "cluster": 0, "cluster_2": 0}]

    assert "<script>" not in tree_html(records)
    assert 'title="&lt;script&gt;&quot;"' in tree_html(records)
    assert tree_html([{"id": "a", "style": "x", "cluster": 0}]) == ""
    assert tree_html([]) == ""
