"""The strength of PEFT's LoRAs: by alpha, rank, rslora and patterns, as PEFT itself computes it."""

import json
from pathlib import Path

import pytest
from peft import LoraConfig, get_peft_model
from torch import nn

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.peft_config import HEADER_KEY, read_peft_config

BESIDE = {"peft_type": "LORA", "r": 4, "lora_alpha": 8}


def saved(folder: Path, config: object) -> Path:
    folder.mkdir(exist_ok=True)
    text = config if isinstance(config, str) else json.dumps(config)
    (folder / "adapter_config.json").write_text(text)
    return folder / "adapter_model.safetensors"


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"use_rslora": True},
        {"alpha_pattern": {"b": 1}, "rank_pattern": {"b": 2}},
        {"use_rslora": True, "alpha_pattern": {"inner.b": 3, "b": 5}, "rank_pattern": {"^a": 8}},
    ],
)
def test_each_module_counts_as_much_as_in_peft(tmp_path: Path, more: dict[str, object]) -> None:
    inner, outer = ({name: nn.Linear(8, 8) for name in "ab"} for _ in range(2))
    model = nn.ModuleDict({"inner": nn.ModuleDict(inner), **outer})
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["a", "b"], **more)
    config.save_pretrained(str(tmp_path))  # sorts the patterns, of which the first that fits counts
    adapted = get_peft_model(model, LoraConfig.from_pretrained(str(tmp_path)))

    read = read_peft_config(tmp_path / "adapter_model.safetensors", {})

    assert read is not None
    for name in ("a", "b", "inner.a", "inner.b"):
        layer = adapted.base_model.model.get_submodule(name)
        rank = layer.r["default"]
        alpha = read.alpha(name, rank)
        assert alpha is not None
        assert alpha / rank == pytest.approx(layer.scaling["default"])


def test_a_header_holds_the_configs_of_transformer_and_text_encoder(tmp_path: Path) -> None:
    config = {"transformer.r": 4, "transformer.lora_alpha": 8}
    other = {"text_encoder.r": 4, "text_encoder.lora_alpha": 16}
    for values in (config | other, other | config, {"r": 4, "lora_alpha": 8}):
        read = read_peft_config(tmp_path / "x.safetensors", {HEADER_KEY: json.dumps(values)})

        assert read is not None and read.alpha("a", 4) == 8


def test_a_lora_without_config_has_none(tmp_path: Path) -> None:
    assert read_peft_config(saved(tmp_path, BESIDE).with_name("x.safetensors"), {}) is None
    only_text = {HEADER_KEY: json.dumps({"text_encoder.lora_alpha": 16})}
    read = read_peft_config(tmp_path / "x.safetensors", only_text)
    assert read is not None and read.alpha("a", 4) is None


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("[1]", "adapter_config.json is damaged: it is not a JSON object"),
        ("{", "it is not a JSON object"),
        ("[" * 100_000, "it is not a JSON object"),
        (BESIDE | {"lora_alpha": "8"}, "has lora_alpha '8', not a number"),
        (BESIDE | {"lora_alpha": True}, "has lora_alpha True, not a number"),
        (BESIDE | {"lora_alpha": float("nan")}, "has lora_alpha nan, not a number"),
        (BESIDE | {"r": [4]}, r"has r \[4\], not a number"),
        (BESIDE | {"alpha_pattern": [1]}, r"has alpha_pattern \[1\], not numbers by module"),
        (BESIDE | {"rank_pattern": {"a": "4"}}, "has rank_pattern a '4', not a number"),
        (BESIDE | {"use_dora": True}, "is of a DoRA"),
        (BESIDE | {"peft_type": "LOHA"}, "is of a LOHA"),
        (BESIDE | {"r": 8}, "a has rank 4, but .*adapter_config.json says 8"),
    ],
)
def test_an_odd_config_is_refused_in_a_sentence(
    tmp_path: Path, config: object, message: str
) -> None:
    weights = saved(tmp_path, config)

    with pytest.raises(MegastyleError, match=message):
        read = read_peft_config(weights, {})
        assert read is not None
        read.alpha("a", 4)
