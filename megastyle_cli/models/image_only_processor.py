"""Processors of Qwen-VL models for text and images, without their part for videos.

That part needs torchvision, of which PyPI's build breaks torch's CPU build beside it.
"""

from pathlib import Path
from typing import Any

from transformers import Qwen2VLImageProcessorPil, Qwen3VLProcessor


class ImageOnlyQwen3VLProcessor(Qwen3VLProcessor):
    """Qwen3-VL's processor for images only: the part for videos needs torchvision."""

    @classmethod
    def get_attributes(cls) -> list[str]:
        """The parts that are loaded from a model's folder."""
        return ["image_processor", "tokenizer"]

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        **others: Any,
    ) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            image_processor, tokenizer, None, chat_template=chat_template
        )

    def check_argument_for_proper_class(self, name: str, argument: Any) -> Any:
        """Accepts that there is no video processor."""
        if name == "video_processor":
            return None
        return super().check_argument_for_proper_class(  # type: ignore[no-untyped-call]
            name, argument
        )


def load_image_only(folder: Path) -> ImageOnlyQwen3VLProcessor:
    """The processor in a model's folder, whose images are resized by Pillow in any environment."""
    images: Any = Qwen2VLImageProcessorPil
    load: Any = ImageOnlyQwen3VLProcessor.from_pretrained
    pictures = images.from_pretrained(folder, local_files_only=True)
    processor: ImageOnlyQwen3VLProcessor = load(
        folder, local_files_only=True, image_processor=pictures
    )
    return processor
