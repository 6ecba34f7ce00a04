"""pyarrow, which reads and writes parquet, or an error that says how to install it."""

from megastyle_cli.core.extras import missing_module

try:
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]
except ModuleNotFoundError as missing:
    raise missing_module("pyarrow", "parquet") from missing

__all__ = ["pa", "pq"]
