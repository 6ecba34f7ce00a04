"""Images in parquet files are counted, and packing them is suggested."""

from megastyle_cli.training.common.parquet import describe_parquet


def test_images_in_parquet_files_are_counted() -> None:
    (line,) = describe_parquet(["a.png", "x.parquet#0", "x.parquet#1", "b.tar#c.jpg"])

    assert line.startswith("2 images are in parquet files") and "--pack DIR" in line


def test_other_images_need_no_remark() -> None:
    assert describe_parquet(["a.png", "b.tar#c.jpg"]) == []
