"""Values of options, as types for the command line and for the code behind it."""

from typing import Literal

CaptionKind = Literal["style", "content", "both"]
StyleSchema = Literal["v1", "v2"]
EmbedderName = Literal["static", "verified", "sentence"]
Shell = Literal["bash", "zsh", "fish"]
Container = Literal["folder", "webdataset", "parquet"]
PictureFormat = Literal["png", "jpg", "webp"]
