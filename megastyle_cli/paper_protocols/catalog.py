"""The measures that papers report, each with the model, the scale and the sources that fix it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megastyle_cli.bias.questions import VERSION
from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.core.record import recorded_weights
from megastyle_cli.models.registry import load

CLIP_L = "openai/clip-vit-large-patch14"
DINOV2 = "facebook/dinov2-base"
COSINE = "cosine"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """One measure: what it is, its scale, and the model that it is computed with.

    `backend` of the role loads the model; None: the encoder of --backend and --model. `model` is
    the default, None where there is none to download. With `has_server` it is the name of a model
    on a server, which may be omitted.
    """

    name: str
    definition: str
    scale: str
    backend: str | None
    model: str | None = None
    role: str = "style_encoder"
    num_models: int = 1
    has_server: bool = False


PROTOCOLS = {
    each.name: each
    for each in (
        Protocol(
            name="csd",
            definition="mean CSD cosine of an image and its references",
            scale=COSINE,
            backend="clip",
        ),
        Protocol(
            name="megastyle",
            definition="mean cosine of an image and its references by the style encoder, times 100",
            scale="cosine x 100",
            backend="siglip",
            model="Gaojunyao/MegaStyle",
        ),
        Protocol(
            name="clip-image",
            definition="mean CLIP cosine of an image and its references, times the logit scale",
            scale="cosine x logit scale",
            backend="auto",
            model=CLIP_L,
            role="text_image",
        ),
        Protocol(
            name="clip-text",
            definition="mean CLIP cosine of an image and its prompt, times the logit scale",
            scale="cosine x logit scale",
            backend="auto",
            model=CLIP_L,
            role="text_image",
        ),
        Protocol(
            name="leakage",
            definition="mean content cosine of an image and its references, less that with"
            " references of other styles",
            scale=COSINE,
            backend="auto",
            model=DINOV2,
        ),
        Protocol(
            name="vlm-leak",
            definition="mean share of the objects of an image's reference that a vision-language"
            " model sees in the image and the prompt does not mention",
            scale="share, lower is better",
            backend="openai",
            role="captioner",
            has_server=True,
        ),
        Protocol(
            name="content-distance",
            definition="mean squared difference of the patches (last layer, after its norm) of an"
            " image and its content image, each channel less its mean over patches and divided by"
            " its deviation; 0: equal, 2: unrelated",
            scale="0 to 4, lower is better",
            backend="dinov2",
            model=DINOV2,
        ),
        Protocol(
            name="oneig",
            definition="highest cosine with 3 references of the style, at least 0, mean of two"
            " encoders; mean over pictures, then prompts",
            scale=COSINE,
            backend="clip",
            num_models=2,
        ),
        Protocol(
            name="gap",
            definition="for each style the mean cosine of two of its images less that with images"
            " of other styles; negative: the encoder does not see the style",
            scale=COSINE,
            backend=None,
        ),
    )
}


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model as a protocol loads it."""

    role: str
    backend: str
    model: str | None

    def load(self, hardware: dict[str, str]) -> Any:
        """The encoder. `hardware` are its device and type, those that are given."""
        options = {"model": self.model, **hardware} if self.model else {}
        return load(self.role, self.backend, **options)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class ProtocolRequest:
    """A protocol and the models that it is to be computed with."""

    protocol: Protocol
    models: tuple[Model, ...]

    @property
    def identity(self) -> list[Any]:
        """What identifies it, for the run key."""
        if self.protocol.has_server:
            return [self.protocol.name, self.models[0].model, VERSION]
        weights = [recorded_weights("model", each.model) for each in self.models]
        return [self.protocol.name, [each.backend for each in self.models], weights]


def parse_protocols(texts: Sequence[str], backend: str, model: str | None) -> list[ProtocolRequest]:
    """What each `--protocol` asks for, each once; `backend` and `model` are those of the encoder.

    Raises MegastyleError if there is no such protocol, or if it needs another number of models.
    """
    own = Model(role="style_encoder", backend=backend, model=model)
    found = [_parse(text, own) for text in texts]
    return list({str(request.identity): request for request in found}.values())


def _parse(text: str, own: Model) -> ProtocolRequest:
    name, sign, value = text.partition("=")
    protocol = PROTOCOLS.get(name)
    if protocol is None:
        raise MegastyleError(
            f"there is no protocol {name!r}", hint=f"choose {', '.join(PROTOCOLS)}"
        )
    if protocol.backend is None:
        if sign:
            raise MegastyleError(
                f"--protocol {name} takes no model",
                hint="name the encoder by --backend and --model",
            )
        return ProtocolRequest(protocol=protocol, models=(own,))
    given = _split(value) if value else [protocol.model] * bool(protocol.model)
    if protocol.has_server and not value:
        own = Model(role=protocol.role, backend=protocol.backend, model=None)
        return ProtocolRequest(protocol=protocol, models=(own,))
    if len(given) != protocol.num_models:
        example = ",".join(["csd.pth", "style_encoder/"][: protocol.num_models])
        number = {1: "a model", 2: "two models"}[protocol.num_models]
        raise MegastyleError(
            f"--protocol {name} needs {number}", hint=f"for example --protocol {name}={example}"
        )
    models = (Model(role=protocol.role, backend=protocol.backend, model=each) for each in given)
    return ProtocolRequest(protocol=protocol, models=tuple(models))


def _split(value: str) -> list[str]:
    """The models of a list with commas; a path that has one is itself."""
    return [value] if Path(value).expanduser().exists() else value.split(",")
