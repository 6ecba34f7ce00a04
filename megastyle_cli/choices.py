"""Words a person chooses between that more than one layer knows. Nothing is imported but typing."""

from typing import Literal

Kind = Literal["style", "content", "both"]
Schema = Literal["v1", "v2"]
DedupPreset = Literal["styles", "contents", "nemo"]
GramOf = Literal["words", "characters"]
Keep = Literal["first", "longest", "hard", "easy"]
EmbedderRung = Literal["static", "verified", "sentence"]
ExactText = Literal["normalized", "raw"]
Shell = Literal["bash", "zsh", "fish"]
Container = Literal["folder", "webdataset", "parquet"]
PictureFormat = Literal["png", "jpg", "webp"]
