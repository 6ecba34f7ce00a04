"""pyarrow, which reads and writes parquet, or an error that says how to install it."""

from megastyle_cli.core.errors import MegastyleError

try:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]
except ModuleNotFoundError as missing:
    raise MegastyleError(
        "for parquet files the package 'pyarrow' is needed, which is not installed",
        hint="pip install 'megastyle[parquet]'",
    ) from missing

__all__ = ["pa", "pq"]
