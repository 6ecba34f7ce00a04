"""SigLIPs as their repositories on the hub are laid out, of random weights and any size.

The files and their settings are those of google/siglip-so400m-patch14-384 and of
google/siglip2-so400m-patch14-384 [from memory: no repository was at hand]: the tokenizers are of
the classes that these name, SentencePiece and Gemma's, with vocabularies of a few words.
"""

import io
import json
from pathlib import Path

import sentencepiece
import torch
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing
from transformers import Siglip2Config, Siglip2Model, SiglipConfig, SiglipModel

WORDS = ["teal ink on paper", "ochre oil on canvas", "grey pencil in the style of a woodcut"]
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}
SO400M = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 1,
    "num_attention_heads": 16,
}
PROCESSOR = {
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "SiglipImageProcessor",
    "image_std": [0.5, 0.5, 0.5],
    "processor_class": "SiglipProcessor",
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
}


def siglip_of_the_hub(folder: Path, sizes=SMALL, side_px: int = 28, patch_px: int = 14) -> Path:
    """A SigLIP with SiglipTokenizer: spiece.model and a tokenizer_config that names its class."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(WORDS * 4),
        model_writer=model,
        vocab_size=60,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    _write_model(folder, sizes, side_px, patch_px, vocab_size=64)
    (folder / "spiece.model").write_bytes(model.getvalue())
    special = {"eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    _write(folder / "special_tokens_map.json", special)
    added = {"lstrip": True, "rstrip": True, "normalized": False, "single_word": False}
    decoder = {
        str(row): {"content": token, "special": True, **added}
        for row, token in ((1, "</s>"), (2, "<unk>"))
    }
    _write(
        folder / "tokenizer_config.json",
        {
            "added_tokens_decoder": decoder,
            "additional_special_tokens": [],
            "clean_up_tokenization_spaces": True,
            "do_lower_case": True,
            "model_input_names": ["input_ids"],
            "model_max_length": 64,
            "processor_class": "SiglipProcessor",
            "sp_model_kwargs": {},
            "tokenizer_class": "SiglipTokenizer",
            **special,
        },
    )
    return folder


def siglip2_of_the_hub(folder: Path, sizes=SMALL, side_px: int = 28, patch_px: int = 14) -> Path:
    """A SigLIP 2 of one resolution: a SigLIP with Gemma's tokenizer, in tokenizer.json alone."""
    _write_model(folder, sizes, side_px, patch_px, vocab_size=96)
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    letters = sorted({letter for words in WORDS for letter in words if letter != " "})
    vocabulary = {token: row for row, token in enumerate([*special, "\u2581", *letters])}
    merges = [("i", "n"), ("o", "n"), ("in", "k"), ("\u2581", "on")]
    for pair in merges:
        vocabulary["".join(pair)] = len(vocabulary)
    tokenizer = Tokenizer(
        BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = TemplateProcessing(
        single="$A <eos>", pair="$A <eos> $B <eos>", special_tokens=[("<eos>", 1)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    names = dict(zip(("pad_token", "eos_token", "bos_token", "unk_token"), special, strict=True))
    _write(folder / "special_tokens_map.json", names)
    _write(
        folder / "tokenizer_config.json",
        {
            "add_bos_token": False,
            "add_eos_token": True,
            "clean_up_tokenization_spaces": False,
            "model_max_length": 64,
            "padding_side": "right",
            "processor_class": "SiglipProcessor",
            "sp_model_kwargs": {},
            "spaces_between_special_tokens": False,
            "tokenizer_class": "GemmaTokenizer",
            "use_default_system_prompt": False,
            **names,
        },
    )
    return folder


def naflex_of_the_hub(folder: Path) -> Path:
    """A SigLIP 2 of variable resolution, with the keys of google/siglip2-so400m-patch16-naflex."""
    text = {**SMALL, "projection_size": 32, "vocab_size": 96, "model_type": "siglip2_text_model"}
    vision = {**SMALL, "num_patches": 16, "patch_size": 8, "model_type": "siglip2_vision_model"}
    config = Siglip2Config(
        text_config={**text, "bos_token_id": 2, "eos_token_id": 1}, vision_config=vision
    )
    with torch.random.fork_rng():
        Siglip2Model(config).save_pretrained(folder)
    released = {
        "architectures": ["Siglip2Model"],
        "initializer_factor": 1.0,
        "model_type": "siglip2",
        "text_config": text,
        "torch_dtype": "float32",
        "vision_config": vision,
    }
    _write(folder / "config.json", released)
    processor = {
        "do_resize": True,
        "image_processor_type": "Siglip2ImageProcessor",
        "max_num_patches": 256,
        "patch_size": 8,
        "processor_class": "Siglip2Processor",
    }
    _write(folder / "preprocessor_config.json", processor)
    return folder


def _write_model(folder: Path, sizes, side_px: int, patch_px: int, vocab_size: int) -> None:
    text = {**sizes, "vocab_size": vocab_size, "projection_size": sizes["hidden_size"]}
    vision = {**sizes, "image_size": side_px, "patch_size": patch_px}
    torch.manual_seed(4)
    SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    for tower in ("text_config", "vision_config"):
        config[tower] = (text if tower == "text_config" else vision) | {
            "model_type": config[tower]["model_type"]
        }
    _write(folder / "config.json", config)
    size = {"height": side_px, "width": side_px}
    _write(folder / "preprocessor_config.json", {**PROCESSOR, "size": size})


def _write(path: Path, values) -> None:
    path.write_text(json.dumps(values, indent=2))
