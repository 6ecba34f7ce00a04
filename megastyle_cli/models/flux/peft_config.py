"""The config of a LoRA that PEFT wrote: the scaling of its modules.

It stands beside the weights, as adapter_config.json, or in their header, where diffusers puts it.
Source: the scaling of PEFT's LoRA layers, and its rule by which a pattern names a module.
"""

import json
import re
from dataclasses import dataclass
from math import isfinite, sqrt
from pathlib import Path
from typing import Any

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.hub import adapter_config_path

HEADER_KEY = "lora_adapter_metadata"
DENOISER = "transformer."  # the header may hold the config of a text encoder's LoRA, too


@dataclass(frozen=True, kw_only=True)
class PeftConfig:
    """The alphas and ranks of modules; `origin` names the config in errors."""

    origin: str
    lora_alpha: float | None
    rank: int | None
    use_rslora: bool
    alpha_pattern: dict[str, float]
    rank_pattern: dict[str, int]

    def alpha(self, module: str, rank: int) -> float | None:
        """The alpha by whose ratio to `rank` the module of that name counts; None if there is none.

        Raises MegastyleError if the config says that the module has another rank.
        """
        expected = _of_pattern(self.rank_pattern, module, self.rank)
        if expected not in (None, rank):
            raise MegastyleError(
                f"{module} has rank {rank}, but {self.origin} says {expected}",
                hint="give the LoRA together with the config it was saved with",
            )
        alpha: float | None = _of_pattern(self.alpha_pattern, module, self.lora_alpha)
        return alpha * sqrt(rank) if alpha is not None and self.use_rslora else alpha


def read_peft_config(weights: Path, header: dict[str, str]) -> PeftConfig | None:
    """The config of a file of weights with this `header`, if PEFT wrote one.

    Raises MegastyleError if it cannot be read, or asks for more than LoRA factors.
    """
    beside = adapter_config_path(weights)
    if beside is not None:
        origin, values = str(beside), _read_object(str(beside), beside.read_bytes())
    elif HEADER_KEY in header:
        origin = f"the header of {weights}"
        values = {
            key.removeprefix(DENOISER): value
            for key, value in _read_object(origin, header[HEADER_KEY]).items()
            if "." not in key.removeprefix(DENOISER)
        }
    else:
        return None
    if values.get("use_dora") or values.get("peft_type", "LORA") != "LORA":
        raise MegastyleError(
            f"{origin} is of a {'DoRA' if values.get('use_dora') else values['peft_type']},"
            " not of a LoRA",
            hint="give a plain LoRA",
        )
    alpha_pattern, rank_pattern = (
        _pattern(origin, key, values.get(key)) for key in ("alpha_pattern", "rank_pattern")
    )
    rank = _number(origin, "r", values.get("r"))
    return PeftConfig(
        origin=origin,
        lora_alpha=_number(origin, "lora_alpha", values.get("lora_alpha")),
        rank=None if rank is None else int(rank),
        use_rslora=bool(values.get("use_rslora")),
        alpha_pattern=alpha_pattern,
        rank_pattern={name: int(value) for name, value in rank_pattern.items()},
    )


def _read_object(origin: str, text: str | bytes) -> dict[str, Any]:
    try:
        values: Any = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise MegastyleError(
            f"{origin} is damaged: it is not a JSON object", hint="download or save the LoRA again"
        )
    return values


def _pattern(origin: str, key: str, value: Any) -> dict[str, float]:
    if not isinstance(value or {}, dict):
        raise MegastyleError(
            f"{origin} has {key} {value!r}, not numbers by module",
            hint="download or save the LoRA again",
        )
    found = {name: _number(origin, f"{key} {name}", each) for name, each in (value or {}).items()}
    return {name: number for name, number in found.items() if number is not None}


def _number(origin: str, key: str, value: Any) -> float | None:
    """A number of the config, as it is; None if it is null."""
    if value is None or (type(value) in (int, float) and isfinite(value)):
        number: float | None = value
        return number
    raise MegastyleError(
        f"{origin} has {key} {value!r}, not a number", hint="download or save the LoRA again"
    )


def _of_pattern(pattern: dict[str, Any], module: str, default: Any) -> Any:
    """The value of the first pattern that names the module; see PEFT's get_pattern_key."""
    for name, value in pattern.items():
        try:
            if re.match(rf"(.*\.)?({name})$", module):
                return value
        except re.error:
            continue
    return default
