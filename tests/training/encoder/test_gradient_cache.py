"""The cached gradient is the direct gradient, for any micro-batch and number of processes."""

import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from accelerate import Accelerator, debug_launcher
from accelerate.state import AcceleratorState, PartialState
from torch import nn
from transformers import SiglipVisionConfig

from megastyle_cli.models.encoders.siglip_vision import StyleTower, new_tower
from megastyle_cli.training.encoder import gradient_cache, losses
from megastyle_cli.training.encoder.gradient_cache import backward
from megastyle_cli.training.encoder.losses import image_text_sigmoid, supervised_contrastive

N = 24
ON_A_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
STYLES = torch.arange(N) // 4 % 5  # one style has two groups
SIZE = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
}


@pytest.fixture(autouse=True)
def reset_accelerate():
    # a forked child must not inherit the parent's single-process state
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    assert not PartialState._shared_state


def made(dtype):
    tower = StyleTower(new_tower(SiglipVisionConfig(**SIZE), seed=4)).to(dtype)
    generator = torch.manual_seed(9)
    images = torch.rand(N, 3, 16, 16, generator=generator, dtype=dtype) * 2 - 1
    prompts = nn.functional.normalize(torch.randn(5, 16, generator=generator, dtype=dtype))
    return tower, images, prompts


def gradient_of(z, styles, prompts):
    terms = (
        supervised_contrastive(z, styles, 0.1),
        image_text_sigmoid(z, prompts, styles, 10.0, -10.0),
    )
    return terms[0].gradient + terms[1].gradient


def direct(dtype):
    """Autograd through the whole batch at once, with an independent loss."""
    tower, images, prompts = made(dtype)
    z = tower(images)
    similar = (z @ z.T / 0.1).masked_fill(torch.eye(N, dtype=torch.bool), -torch.inf)
    log_p = similar.log_softmax(1)
    same = (STYLES[:, None] == STYLES) & ~torch.eye(N, dtype=torch.bool)
    contrast = -(log_p.masked_fill(~same, 0).sum(1) / same.sum(1)).mean()
    sign = torch.where(STYLES[:, None] == torch.arange(5), 1.0, -1.0)
    text = -nn.functional.logsigmoid(sign * (10 * z @ prompts.T - 10)).sum(1).mean()
    (contrast + text).backward()
    return parameters_gradient(tower)


def parameters_gradient(tower):
    return torch.cat([weight.grad.flatten() for weight in tower.parameters()])


def in_micro_batches(dtype, micro_batch, accelerator=None, step=backward):
    """The gradient that this rank's parameters get from its slice of the global batch."""
    accelerator = accelerator or Accelerator(cpu=True)
    tower, images, prompts = made(dtype)
    share = N // accelerator.num_processes
    first = accelerator.process_index * share
    step(
        accelerator.prepare(tower),
        images[first : first + share],
        STYLES[first : first + share],
        lambda z, styles: gradient_of(z, styles, prompts),
        accelerator,
        micro_batch,
    )
    return parameters_gradient(tower)


def relative_error(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("micro_batch", [N, 2 * N, N // 4, 7, 1])
def test_any_micro_batch_gives_the_direct_gradient(micro_batch):
    assert (
        relative_error(in_micro_batches(torch.float64, micro_batch), direct(torch.float64)) <= 1e-12
    )


def test_single_precision_gives_the_direct_gradient():
    assert relative_error(in_micro_batches(torch.float32, 7), direct(torch.float32)) < 1e-5


def test_a_batch_that_fits_one_micro_batch_is_embedded_once():
    tower, images, prompts = made(torch.float64)
    passes = []
    tower.register_forward_hook(lambda *_: passes.append(torch.is_grad_enabled()))

    for micro_batch in (N, N // 2):
        backward(
            tower,
            images,
            STYLES,
            lambda z, styles: gradient_of(z, styles, prompts),
            Accelerator(cpu=True),
            micro_batch,
        )

    assert passes == [True, False, False, True, True]


def test_the_papers_batch_in_odd_micro_batches_has_the_gradient_of_one_pass():
    n, styles = 8192, torch.arange(8192) // 4
    images = torch.randint(0, 256, (n, 3, 16, 16), generator=torch.manual_seed(2))
    size = {**SIZE, "num_hidden_layers": 1}
    tower = StyleTower(new_tower(SiglipVisionConfig(**size), seed=4)).double()

    def gradient(micro_batch):
        tower.zero_grad()
        backward(
            tower,
            images.double() / 127.5 - 1,
            styles,
            lambda z, y: supervised_contrastive(z, y, 0.1, max_similarities=2**18).gradient,
            Accelerator(cpu=True),
            micro_batch,
        )
        return parameters_gradient(tower)

    assert relative_error(gradient(1021), gradient(n)) <= 1e-12


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=ON_A_GPU)])
def test_in_half_precision_the_cached_gradient_is_parallel_to_the_direct_one(device):
    # on a GPU layers are compiled, and with and without a graph they round differently
    tower, images, prompts = made(torch.float32)
    tower.dtype = torch.bfloat16
    tower.to(device)
    for layer in tower.vision.encoder.layers if device == "cuda" else ():
        layer.compile()

    def gradient(micro_batch):
        tower.zero_grad()
        backward(
            tower,
            images.to(device),
            STYLES.to(device),
            lambda z, styles: gradient_of(z, styles, prompts.to(device)),
            Accelerator(cpu=device == "cpu"),
            micro_batch,
        )
        return parameters_gradient(tower)

    assert nn.functional.cosine_similarity(gradient(7), gradient(N), dim=0) > 0.9999


def mutant(module, line, replacement):
    """The module with one line of its source changed."""
    source = Path(module.__file__).read_text()
    assert source.count(line) == 1, line
    changed = ModuleType(f"mutant_of_{module.__name__}")
    exec(source.replace(line, replacement), changed.__dict__)
    return changed


def in_process(folder, micro_batches, step):
    """Writes this process's errors against the direct gradient as JSON."""
    torch.set_num_threads(1)
    accelerator = Accelerator(cpu=True)
    errors = {
        f"{dtype} {micro_batch}": relative_error(
            in_micro_batches(dtype, micro_batch, accelerator, step), direct(dtype)
        )
        for dtype in (torch.float64, torch.float32)
        for micro_batch in micro_batches
    }
    result = {"world": accelerator.num_processes, "errors": errors}
    (folder / f"{accelerator.process_index}.json").write_text(json.dumps(result))


def launched(folder, processes, micro_batches, step=backward):
    debug_launcher(in_process, (folder, micro_batches, step), num_processes=processes)
    results = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    assert [found["world"] for found in results] == [processes] * processes
    return [found["errors"] for found in results]


@pytest.mark.parametrize("processes, micro_batches", [(2, (12, 3, 5)), (4, (6, 5))])
def test_any_number_of_processes_gives_the_direct_gradient(tmp_path, processes, micro_batches):
    for errors in launched(tmp_path, processes, micro_batches):
        assert len(errors) == 2 * len(micro_batches)
        for name, error in errors.items():
            assert error <= (1e-12 if "float64" in name else 1e-5), name


def test_without_the_world_size_factor_the_gradient_is_too_short(tmp_path):
    changed = mutant(gradient_cache, "gradient[mine] * accelerator.num_processes", "gradient[mine]")

    for errors in launched(tmp_path, 2, (12, 5), changed.backward):
        assert all(error == pytest.approx(0.5, abs=1e-5) for error in errors.values())


def test_without_the_column_term_the_gradient_is_wrong(monkeypatch):
    changed = mutant(losses, "gradient += pull.T @ z[rows]", "pass")
    monkeypatch.setitem(globals(), "supervised_contrastive", changed.supervised_contrastive)

    assert relative_error(in_micro_batches(torch.float64, 7), direct(torch.float64)) > 0.1
