"""Small models of random weights in the layouts of the released ones, and images to measure."""

import torch
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from tests.conftest import draw, jsonl
from tests.models.encoders.test_clip_vision import csd
from tests.models.encoders.test_dinov2 import dinov2_folder
from tests.models.encoders.test_dual_encoder import VISION, clip_folder

STYLES, CONTENTS, REFERENCES = ("ink", "oil", "flat"), 3, 3


def make_models(folder):
    """CSD's checkpoint, the style encoder's file, CLIP, DINOv2 and OneIG's encoder, by name."""
    torch.save({"model_state_dict": csd(), "epoch": 1}, folder / "csd.pth")
    torch.manual_seed(5)
    tower = SiglipVisionModel(SiglipVisionConfig(**VISION))
    weights = {
        f"vision_model.{n.removeprefix('vision_model.')}": w for n, w in tower.state_dict().items()
    }
    torch.save({"model": weights, "config": tower.config.to_dict()}, folder / "megastyle.pth")
    config = CLIPVisionConfig(**VISION, projection_dim=24)
    CLIPVisionModelWithProjection(config).save_pretrained(folder / "oneig")
    clip_folder(folder / "clip")
    dinov2_folder(folder / "dinov2")
    return {
        "csd": folder / "csd.pth",
        "megastyle": folder / "megastyle.pth",
        "clip": folder / "clip",
        "dinov2": folder / "dinov2",
        "oneig": folder / "oneig",
    }


def make_images(folder):
    """Restyled images of three styles and contents with their prompts, and three references each.

    The images of one style resemble its references: both are drawn from neighbouring seeds.
    """
    records, references = [], []
    for content in range(CONTENTS):
        draw(90 + content, 72, 56).save(folder / f"content{content}.png")
    for number, style in enumerate(STYLES):
        for each in range(REFERENCES):
            name = f"{style}-reference{each}.png"
            draw(10 * number + each, 64, 48).save(folder / name)
            references.append({"id": name, "file_name": name, "style_id": style})
        for content in range(CONTENTS):
            name = f"{style}{content}.png"
            draw(10 * number + content + 5, 64, 48).save(folder / name)
            records.append(
                {
                    "id": name,
                    "file_name": name,
                    "style_id": style,
                    "style_file_name": f"{style}-reference0.png",
                    "content_file_name": f"content{content}.png",
                    "content": f"ink boat {content}",
                }
            )
    return jsonl(folder / "images.jsonl", records), jsonl(folder / "references.jsonl", references)
