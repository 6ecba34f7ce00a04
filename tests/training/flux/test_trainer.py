"""A step of FLUX: its loss is the official one, and every part of a pair counts in it."""

import json
import shutil
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.lora import target_modules
from megastyle_cli.models.flux.lora_file import save_lora
from megastyle_cli.models.flux.prompt_embeddings import PromptEmbeddings
from megastyle_cli.models.flux.schedule import shifted_sigmas, timestep_input
from megastyle_cli.training.flux.batch import Conditions
from megastyle_cli.training.flux.config import Layout, Settings
from megastyle_cli.training.flux.objective import loss_weights
from megastyle_cli.training.flux.trainer import Trainer
from tests.models.flux.reference_model import official_velocity
from tests.tiny_flux import TRANSFORMER, random_lora, save_tiny_flux

B, SIDE, TEXT = 3, 2, 5  # pairs, rows of tokens, words


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_flux(tmp_path_factory.mktemp("model"), text_tokens=TEXT)


@pytest.fixture
def trainer_of(model, tmp_path):
    def made(**changed):
        layout = {
            **{"chunk": 2, "recompute": 0, "compile": False, "checkpoint_every": 1},
            **{"encode_text": "beside"},
            **{"validate_every": 1, "sample_every": 1, "samples": 0, "export_dtype": "float32"},
        }
        layout |= {name: changed.pop(name) for name in layout.keys() & changed.keys()}
        told = {
            **{"model": str(model), "init": None, "lora": None, "full": False, "rank": 4},
            **{"alpha": None, "targets": "all", "quantize": None, "size_px": 16 * SIDE},
            **{"optimizer": "adamw"},
            **{"batch": B, "steps": 100, "lr": 0.01, "schedule": "constant", "warmup": 0.0},
            **{"weight_decay": 0.01, "clip": 0.0, "ema": 0.0, "timesteps": "megastyle"},
            **{"loss_weight": "bell", "guidance": 1.0, "augment": True, "seed": 0},
            **{"dtype": "float32", "layout": Layout(**layout)},
        }
        prompts = changed.pop("prompts", ())
        return Trainer(Settings(**{**told, **changed}), Accelerator(cpu=True), tmp_path, prompts)

    yield made
    AcceleratorState._reset_state(reset_partial_state=True)


def batch(seed=1):
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=rng)

    sigmas = torch.tensor([0.9, 0.5, 0.2])
    return Conditions(
        latents=normal(B, SIDE**2, 16),
        references=normal(B, SIDE**2, 16),
        noise=normal(B, SIDE**2, 16),
        words=PromptEmbeddings(states=normal(B, TEXT, 24), pooled=normal(B, 20)),
        sigmas=sigmas,
        weights=loss_weights(sigmas, "bell"),
        ids=["a", "b", "c"],
        failures=[],
    )


def test_the_loss_is_that_of_the_official_equations(trainer_of):
    trainer, told = trainer_of(), batch()
    weights = dict(trainer.student.pipeline.transformer.state_dict())
    weights = {name.replace(".base_layer", ""): w for name, w in weights.items()}
    share = told.sigmas[:, None, None]
    noisy = (1 - share) * told.latents + share * told.noise
    flow = official_velocity(
        weights,
        TRANSFORMER,
        noisy,
        told.references,
        told.words,
        told.sigmas,
        torch.ones(B),
        SIDE,
        SIDE,
    )
    errors = (flow - (told.noise - told.latents)).square().mean((1, 2))
    expected = float((told.weights * errors).mean())

    found = trainer.step(told)["loss"]

    assert found == pytest.approx(expected, rel=1e-5)


def test_a_changed_reference_changes_the_loss(trainer_of):
    # what the official trainer did not do until July 2026
    told = batch()
    changed = replace(told, references=batch(seed=2).references)

    one, other = (trainer_of().step(each)["loss"] for each in (told, changed))

    assert abs(one - other) > 1e-4 * one


def test_the_reference_is_clean_and_has_no_part_in_the_target(trainer_of):
    trainer, told = trainer_of(), batch()
    seen = []
    trainer.transformer.x_embedder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))

    errors = trainer.errors(told)

    tokens = seen[0]
    assert errors.shape == (B,) and tokens.shape == (B, 2 * SIDE**2, 16)
    assert torch.equal(tokens[:, SIDE**2 :], told.references)
    assert not torch.equal(tokens[:, : SIDE**2], told.latents)


def test_words_weight_and_level_change_the_loss(trainer_of):
    told = batch()
    before = trainer_of().step(told)["loss"]

    words = replace(
        told, words=PromptEmbeddings(states=told.words.states.flip(0), pooled=told.words.pooled)
    )
    for changed in (
        words,
        replace(told, weights=told.weights * 2),
        replace(told, sigmas=told.sigmas / 2),
    ):
        assert trainer_of().step(changed)["loss"] != pytest.approx(before, rel=1e-6)


def test_steps_on_one_batch_lower_the_loss_and_leave_the_frozen_weights(trainer_of):
    trainer = trainer_of()
    frozen = {
        n: w.clone() for n, w in trainer.transformer.named_parameters() if not w.requires_grad
    }

    losses = [trainer.step(batch())["loss"] for _ in range(30)]

    assert losses[-1] < 0.8 * losses[0]
    now = dict(trainer.transformer.named_parameters())
    assert all(torch.equal(now[name], w) for name, w in frozen.items())


@pytest.mark.parametrize(
    "changed", [{"chunk": 1}, {"chunk": 3}, {"recompute": 1}, {"recompute": 2}]
)
def test_chunks_and_blocks_computed_twice_give_the_same_gradient(trainer_of, changed):
    one, other = trainer_of(), trainer_of(**changed)
    for trainer in (one, other):  # with up matrices of zero the down ones have no gradient
        for weight in trainer.trained:
            weight.data += 0.01

    found = [trainer.step(batch()) for trainer in (one, other)]

    assert found[0]["loss"] == pytest.approx(found[1]["loss"], rel=1e-5)
    for ours, theirs in zip(one.trained, other.trained, strict=True):
        assert ours.grad is None or torch.allclose(ours.grad, theirs.grad, rtol=1e-3, atol=1e-7)


def test_blocks_computed_twice_are_every_nth(trainer_of):
    for every, numbers in ((0, []), (1, [0, 1, 2, 3]), (2, [0, 2]), (4, [0])):
        trainer = trainer_of(recompute=every, chunk=3)
        blocks = [*trainer.transformer.transformer_blocks]
        blocks += [*trainer.transformer.single_transformer_blocks]
        passes = [0] * 4
        for number, block in enumerate(blocks):
            block.attn.register_forward_hook(partial(count, passes, number))
        trainer.step(batch())

        assert passes == [2 if n in numbers else 1 for n in range(4)]
        assert trainer.plan.num_twice == len(numbers)


def count(passes, number, *_):
    passes[number] += 1


def test_in_half_precision_what_the_lora_adds_is_in_half_precision(trainer_of):
    trainer = trainer_of(dtype="bfloat16")
    seen = []
    layer = trainer.transformer.transformer_blocks[0].attn.to_q
    layer.lora_B["default"].register_forward_hook(lambda *told: seen.append(told[2].dtype))
    layer.register_forward_hook(lambda *told: seen.append(told[2].dtype))

    trainer.step(batch())

    assert set(seen) == {torch.bfloat16}
    assert {weight.dtype for weight in trainer.trained} == {torch.float32}


def test_in_half_precision_the_transformer_is_told_the_official_timestep(trainer_of):
    every = shifted_sigmas(1000)
    official = timestep_input(every, torch.bfloat16)
    sigmas = every[official != every.bfloat16()][:B]  # where rounding sigma first is another
    trainer, seen = trainer_of(dtype="bfloat16", chunk=B), []
    trainer.transformer.register_forward_pre_hook(
        lambda _, args, named: seen.append(named["timestep"]), with_kwargs=True
    )

    trainer.step(replace(batch(), sigmas=sigmas))

    assert len(sigmas) == B and torch.equal(seen[0], timestep_input(sigmas, torch.bfloat16))


def test_the_average_follows_the_weights_and_is_in_place_at_rest(trainer_of):
    trainer = trainer_of(ema=0.75)
    before = [w.detach().clone() for w in trainer.trained]
    trainer.step(batch())
    now = [w.detach().clone() for w in trainer.trained]

    with trainer.at_rest():
        resting = [w.detach().clone() for w in trainer.trained]

    for was, become, average in zip(before, now, resting, strict=True):
        assert torch.allclose(average, 0.75 * was + 0.25 * become, atol=1e-6)
    assert all(torch.equal(w, become) for w, become in zip(trainer.trained, now, strict=True))


@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler")
@pytest.mark.filterwarnings("ignore")  # torch's own, about its own graphs
def test_compiled_blocks_learn_as_eager_ones_do(trainer_of, tmp_path):
    (tmp_path / "size.json").write_text(
        json.dumps({**TRANSFORMER, "num_layers": 0, "num_single_layers": 1})
    )
    how = {"init": str(tmp_path / "size.json"), "rank": None, "chunk": B}

    eager, compiled = (trainer_of(**how, compile=is_compiled) for is_compiled in (False, True))

    for seed in (1, 2, 3):
        found = [trainer.step(batch(seed)) for trainer in (eager, compiled)]
        assert found[0] == pytest.approx(found[1], rel=1e-4)
    assert compiled.transformer.single_transformer_blocks[0]._compiled_call_impl is not None


def test_a_missing_compiler_is_one_sentence(trainer_of, monkeypatch):
    monkeypatch.setenv("PATH", "")

    with pytest.raises(MegastyleError, match="--compile needs a compiler, and there is no g"):
        trainer_of(compile=True)


def test_in_8_bits_the_optimiser_goes_on_from_a_checkpoint_bit_for_bit(trainer_of, tmp_path):
    pytest.importorskip("bitsandbytes")
    how = {"optimizer": "adamw8bit", "full": True, "rank": None}
    before, after = trainer_of(**how), trainer_of(**how)
    (tmp_path / "checkpoints").mkdir()
    before.step(batch())
    before.save()

    after.restore()
    ended = [trainer.step(batch(seed=2)) for trainer in (before, after)]

    kept = {state["state1"].dtype for state in after.optimizer.state.values()}
    assert torch.uint8 in kept and after.at == 2 and ended[0] == ended[1]
    for one, other in zip(before.trained, after.trained, strict=True):
        assert torch.equal(one, other)


def test_a_rehearsal_of_the_memory_changes_nothing(trainer_of):
    trainer, other = trainer_of(), trainer_of()
    trainer.plan = replace(trainer.plan, free=1)  # as if next to nothing were free

    trainer.settle_chunk()

    assert trainer.chunk == 2 and trainer.step(batch()) == other.step(batch())


@pytest.mark.parametrize(
    ("changed", "hint"),
    [
        ({"chunk": 2}, "--chunk 1 and --resume"),
        ({"chunk": 1}, "--chunk 1 --recompute all"),
        ({"chunk": 1, "recompute": 1}, "--encode-text first"),
        ({"chunk": 1, "recompute": 1, "encode_text": "first"}, "--quantize int8 or nf4"),
    ],
)
def test_out_of_memory_says_what_would_fit(trainer_of, changed, hint):
    trainer = trainer_of(**changed)

    def fill(*_):
        torch.empty(2**60, dtype=torch.uint8)

    trainer.transformer.proj_out.register_forward_hook(fill)
    with pytest.raises(MegastyleError, match="out of memory at step 0 with") as error:
        trainer.step(batch())

    assert error.value.exit_code == 1 and hint in error.value.hint


@pytest.mark.parametrize("chunk", [3, 1])
def test_a_loss_that_is_no_number_ends_it_before_the_weights_change(trainer_of, tmp_path, chunk):
    trainer = trainer_of(chunk=chunk)
    before = [w.detach().clone() for w in trainer.trained]
    told = batch()
    told.latents[1, 0, 0] = float("nan")

    with pytest.raises(MegastyleError, match="the loss is nan at step 0"):
        trainer.step(told)

    assert all(torch.equal(w, was) for w, was in zip(trainer.trained, before, strict=True))
    assert '"ids": ["a", "b", "c"]' in (tmp_path / "stopped-at-00000000.json").read_text()


@pytest.mark.parametrize("part", ["trained", "averages"])
def test_weights_that_are_not_finite_make_no_checkpoint(trainer_of, tmp_path, part):
    trainer = trainer_of(ema=0.9)
    (tmp_path / "checkpoints").mkdir()
    with torch.no_grad():
        getattr(trainer, part)[0][0, 0] = float("inf")

    with pytest.raises(MegastyleError, match="the weights after step 0 are not finite"):
        trainer.save()

    assert not (tmp_path / "latest").exists()


def test_prompts_without_room_on_the_disk_are_refused_with_both_sizes(trainer_of, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=2**20))

    with pytest.raises(MegastyleError, match="the words of 3,000 prompts take 1.6 MiB in") as error:
        trainer_of(encode_text="first", prompts=[f"a thing {n}" for n in range(3000)])

    assert "1.0 MiB are free" in str(error.value) and error.value.exit_code == 1


def test_a_model_whose_parts_do_not_fit_is_refused(trainer_of, tmp_path):
    (tmp_path / "size.json").write_text(json.dumps({**TRANSFORMER, "in_channels": 32}))

    with pytest.raises(
        MegastyleError, match="in_channels is 32, the other parts of the model give 16"
    ):
        trainer_of(init=str(tmp_path / "size.json"), rank=None)


def test_a_lora_of_another_model_of_the_same_shapes_is_remarked_on(trainer_of, tmp_path, caplog):
    facts = {"megastyle.model": "FLUX.1-other@01234567"}
    save_lora(random_lora(target_modules(2, 2)), tmp_path / "lora.safetensors", metadata=facts)

    trainer = trainer_of(lora=str(tmp_path / "lora.safetensors"))

    (remark,) = caplog.records
    assert (
        f"trained on FLUX.1-other@01234567, not on {trainer.student.model}" in remark.getMessage()
    )
