"""A quantized model predicts nearly the same, and passes gradients to a LoRA on it."""

import pytest

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.lora_training import attach_lora, select_target_modules
from megastyle_cli.models.quantization import PACKAGES, quantize_blocks
from megastyle_cli.training.flux.memory_cost import weight_bytes
from tests.models.flux.test_lora_training import predict
from tests.tiny_flux import tiny_transformer


@pytest.mark.filterwarnings("ignore")  # warnings about missing kernels
@pytest.mark.parametrize(
    ("kind", "error", "smaller"), [("int8", 0.02, 3), ("fp8", 0.06, 3), ("nf4", 0.2, 5)]
)
def test_quantized_blocks_predict_nearly_the_same_and_train_a_lora(kind, error, smaller):
    pytest.importorskip(PACKAGES[kind])
    transformer = tiny_transformer()
    before, size = predict(transformer), weight_bytes(transformer.transformer_blocks)

    for blocks in (transformer.transformer_blocks, transformer.single_transformer_blocks):
        quantize_blocks(blocks, kind)
    transformer.to("cpu")
    attach_lora(transformer, select_target_modules(transformer, "all"), rank=2, alpha=2, seed=0)
    after = predict(transformer)
    after.square().mean().backward()

    assert 0 < float((after - before).norm() / before.norm()) < error
    base_bytes = weight_bytes(transformer.transformer_blocks) - sum(
        w.nbytes for w in transformer.transformer_blocks.parameters() if w.requires_grad
    )
    assert base_bytes < size / smaller * 1.5
    ups = [w.grad for n, w in transformer.named_parameters() if "lora_B" in n]
    assert all(grad is not None and bool(grad.any()) for grad in ups)


@pytest.mark.parametrize("kind", PACKAGES)
def test_a_missing_package_is_one_sentence(kind, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, PACKAGES[kind], None)
    monkeypatch.setitem(__import__("sys").modules, "torchao.quantization", None)

    with pytest.raises(MegastyleError, match=f"--quantize {kind} needs the package") as error:
        quantize_blocks(tiny_transformer().transformer_blocks, kind)

    assert "megastyle[quantize]" in error.value.hint
