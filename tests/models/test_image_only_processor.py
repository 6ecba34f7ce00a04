"""Qwen-VL's processor without its part for videos: text and images as by the whole one."""

from transformers import Qwen3VLProcessor

from megastyle_cli.models.image_only_processor import ImageOnlyQwen3VLProcessor
from tests.conftest import draw
from tests.models.tiny_vlm import save_tiny_vlm

TEXT = "<|vision_start|><|image_pad|><|vision_end|>what is this?"


def test_it_is_read_from_a_folder_and_gives_the_patches_of_an_image(tmp_path):
    processor = ImageOnlyQwen3VLProcessor.from_pretrained(save_tiny_vlm(tmp_path))

    inputs = processor(text=[TEXT], images=[draw(1, 64, 64)], return_tensors="pt")

    assert isinstance(processor, Qwen3VLProcessor)
    image = processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    num_patches = inputs["image_grid_thw"].prod().item()
    assert len(inputs["pixel_values"]) == num_patches
    # 2 x 2 patches are one token
    assert (inputs["input_ids"] == image).sum().item() == num_patches // 4


def test_text_alone_needs_no_image(tmp_path):
    processor = ImageOnlyQwen3VLProcessor.from_pretrained(save_tiny_vlm(tmp_path))

    assert "pixel_values" not in processor(text=["what is this?"], return_tensors="pt")
