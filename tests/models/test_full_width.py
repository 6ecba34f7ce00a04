"""Published sizes at full width and one layer, by the project's own loading; opt-in.

    MEGASTYLE_FULL_WIDTH=1 make test TESTS="tests/models/test_full_width.py -s"

Weights are random, files are laid out as on the hub. Each test prints what it ran. The sizes are
the configs' as published [from memory], but for the vocabularies, which are small.
"""

import os
import sys

import numpy as np
import pytest
import torch
from transformers import (
    Qwen2VLImageProcessorPil,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from megastyle_cli.models.encoders.siglip_vision import save_official
from megastyle_cli.models.image_only_processor import ImageOnlyQwen3VLProcessor
from megastyle_cli.models.protocols import VisionPrompt
from megastyle_cli.models.registry import load
from tests.conftest import draw
from tests.models.encoders.bicubic import squash
from tests.models.encoders.hub_siglip import SO400M, siglip_of_the_hub
from tests.models.encoders.test_siglip_vision import RELEASED
from tests.models.tiny_vlm import SPECIAL, TEMPLATE, byte_tokenizer

pytestmark = pytest.mark.skipif(
    not os.environ.get("MEGASTYLE_FULL_WIDTH"), reason="MEGASTYLE_FULL_WIDTH is not set"
)
QWEN3_VL_8B = {
    "text": {
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 1,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 4096,
    },
    "vision": {"depth": 1, "deepstack_visual_indexes": [0], "out_hidden_size": 4096},
}
QWEN3_5_9B = {
    "text": {
        "vocab_size": 4096,
        "num_hidden_layers": 2,
        "layer_types": ["linear_attention", "full_attention"],
    },
    "vision": {"depth": 1, "out_hidden_size": 4096},
}
KINDS = {
    "Qwen3-VL-8B": (Qwen3VLConfig, Qwen3VLForConditionalGeneration, QWEN3_VL_8B),
    "Qwen3.5-9B": (Qwen3_5Config, Qwen3_5ForConditionalGeneration, QWEN3_5_9B),
}


def report(line):
    sys.stdout.write(f"{line}\n")


@pytest.mark.parametrize("name", KINDS)
def test_a_captioner_answers_at_the_published_width(name, tmp_path):
    config_class, model_class, sizes = KINDS[name]
    tokenizer = byte_tokenizer()
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    config = config_class(
        text_config={**sizes["text"], "eos_token_id": ids["<|im_end|>"]},
        vision_config=sizes["vision"],
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    torch.set_default_dtype(torch.bfloat16)
    try:
        model = model_class(config)
    finally:
        torch.set_default_dtype(torch.float32)
    model.generation_config.eos_token_id = ids["<|im_end|>"]
    model.generation_config.pad_token_id = ids["<|endoftext|>"]
    model.save_pretrained(tmp_path, max_shard_size="1GB")
    num_weights = sum(w.numel() for w in model.parameters())
    del model
    pictures = Qwen2VLImageProcessorPil(patch_size=16, merge_size=2)
    ImageOnlyQwen3VLProcessor(pictures, tokenizer, chat_template=TEMPLATE).save_pretrained(tmp_path)
    for file in tmp_path.glob("*processor*.json"):
        file.write_text(file.read_text().replace("ImageOnlyQwen3VL", "Qwen3VL"))
    prompt = VisionPrompt(
        image=draw(1, 512, 384), instruction="Say what you see.", question="Now.", max_tokens=3
    )

    vlm = load("captioner", "transformers", model=str(tmp_path), device="cpu", dtype="bfloat16")
    (answer,) = vlm.generate([prompt])

    assert vlm.model.dtype == torch.bfloat16 and answer is not None
    report(f"{name}: {num_weights / 1e9:.2f}B weights, an answer of 3 tokens to 512 x 384 pixels")


def test_the_released_encoder_gives_the_official_script_s_vector(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tower = SiglipVisionModel(SiglipVisionConfig(**RELEASED)).eval()
    save_official(tower, tmp_path / "megastyle_encoder.pth", torch.float16)
    picture = draw(7, 500, 333)

    encoder = load(
        "style_encoder", "siglip", model=str(tmp_path / "megastyle_encoder.pth"), device="cpu"
    )
    (row,) = encoder.embed([picture])

    state = torch.load(tmp_path / "megastyle_encoder.pth", weights_only=True)
    bare = {key.removeprefix("vision_model."): w.float() for key, w in state.items()}
    tower.load_state_dict(bare)
    with torch.no_grad():
        pooled = tower(pixel_values=torch.tensor(squash(np.asarray(picture), 384))[None])[1]
    vector = (pooled / pooled.norm(dim=-1, keepdim=True)).numpy()[0]
    assert encoder.side_px == 384 and len(state) == 448
    assert abs(row - vector).max() < 1e-6
    report(f"megastyle_encoder.pth: 448 tensors, 384 px, difference {abs(row - vector).max():.1e}")


def test_the_hub_s_siglip_embeds_texts_at_the_published_width(tmp_path):
    folder = siglip_of_the_hub(tmp_path, SO400M, side_px=384)

    model = load("text_image", "auto", model=str(folder), device="cpu")
    (text,), (image,) = model.embed_texts(["ochre oil on canvas"]), model.embed([draw(1)])

    assert text.shape == image.shape == (1152,)
    report("siglip-so400m-patch14-384, one layer of each tower: texts and images of 1152 values")
