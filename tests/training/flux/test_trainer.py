"""The FLUX trainer: its loss is the official one, and every part of a pair counts in it."""

import json
import shutil
from dataclasses import replace
from functools import partial

import pytest
import torch
from accelerate import Accelerator, debug_launcher
from accelerate.state import AcceleratorState

from megastyle_cli.core.errors import MegastyleError
from megastyle_cli.models.flux.prompt_embeddings import PromptEmbeddings
from megastyle_cli.models.flux.schedule import shifted_sigmas, timestep_input
from megastyle_cli.training.flux.batch import PairBatch
from megastyle_cli.training.flux.config import FluxConfig
from megastyle_cli.training.flux.flow_matching import loss_weights
from megastyle_cli.training.flux.pairs import PairSampler, TrainingPairs, split_pairs
from megastyle_cli.training.flux.trainer import BETAS, FluxTrainer
from tests.conftest import draw
from tests.models.flux.reference_model import official_velocity
from tests.tiny_flux import TRANSFORMER, save_tiny_flux
from tests.training.contexts import run_context

B, SIDE, TEXT = 3, 2, 5  # pairs, rows of tokens, text tokens
PX = 16 * SIDE
LR = 0.01
GLOBAL = 12  # pairs of all ranks: 6 or 3 of each, in micro-batches of 4 or 2


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_tiny_flux(tmp_path_factory.mktemp("model"), text_tokens=TEXT)


@pytest.fixture
def data(tmp_path):
    """Two styles of two images each, none held out."""
    records = []
    for style in range(2):
        for n in range(2):
            path = tmp_path / f"{style}-{n}.png"
            draw(10 * style + n, PX, PX).save(path)
            known = {"id": path.stem, "style_id": f"s{style}", "content": f"thing {'ab'[n]}"}
            records.append({**known, "file_name": str(path)})
    split = split_pairs(records, label="style_id", holdout=0, split_key=None, seed=0)
    return TrainingPairs(split=split, sampler=PairSampler(split.training, batch=B, seed=0))


@pytest.fixture
def trainer_of(model, data, tmp_path):
    def make(**changed):
        options = {
            **{"model": str(model), "rank": 4, "size": PX, "global_batch": B, "chunk": "2"},
            **{"recompute": "none", "encode_text": "beside", "samples": 0, "lr": LR},
            **{"dtype": "float32", "export_dtype": "float32", "steps": 100, **changed},
        }
        return FluxTrainer(FluxConfig(**options), data, run_context(tmp_path, "train-flux"))

    yield make
    AcceleratorState._reset_state(reset_partial_state=True)


def batch(seed=1):
    rng = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=rng)

    sigmas = torch.tensor([0.9, 0.5, 0.2])
    return PairBatch(
        latents=normal(B, SIDE**2, 16),
        references=normal(B, SIDE**2, 16),
        noise=normal(B, SIDE**2, 16),
        prompts=PromptEmbeddings(states=normal(B, TEXT, 24), pooled=normal(B, 20)),
        sigmas=sigmas,
        weights=loss_weights(sigmas, "bell"),
        ids=["a", "b", "c"],
        failures=[],
    )


def test_the_loss_is_that_of_the_official_equations(trainer_of):
    trainer, pairs = trainer_of(), batch()
    weights = dict(trainer.transformer.state_dict())
    weights = {name.replace(".base_layer", ""): w for name, w in weights.items()}
    share = pairs.sigmas[:, None, None]
    flow = official_velocity(
        weights,
        TRANSFORMER,
        (1 - share) * pairs.latents + share * pairs.noise,
        pairs.references,
        pairs.prompts,
        pairs.sigmas,
        torch.ones(B),
        SIDE,
        SIDE,
    )
    errors = (flow - (pairs.noise - pairs.latents)).square().mean((1, 2))

    loss = trainer.train_step(pairs, LR)["loss"]

    assert loss == pytest.approx(float((pairs.weights * errors).mean()), rel=1e-5)


def test_a_changed_reference_changes_the_loss(trainer_of):
    # the official trainer ignored it until July 2026
    pairs = batch()
    changed = replace(pairs, references=batch(seed=2).references)

    one, other = (trainer_of().train_step(each, LR)["loss"] for each in (pairs, changed))

    assert abs(one - other) > 1e-4 * one


def test_the_reference_is_clean_and_not_part_of_the_target(trainer_of):
    trainer, pairs = trainer_of(), batch()
    seen = []
    trainer.transformer.x_embedder.register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0])
    )

    errors = trainer.errors(pairs, slice(None), trainer.model)

    tokens = seen[0]
    assert errors.shape == (B,) and tokens.shape == (B, 2 * SIDE**2, 16)
    assert torch.equal(tokens[:, SIDE**2 :], pairs.references)
    assert not torch.equal(tokens[:, : SIDE**2], pairs.latents)


def test_prompts_weights_and_noise_levels_change_the_loss(trainer_of):
    pairs = batch()
    before = trainer_of().train_step(pairs, LR)["loss"]

    flipped = PromptEmbeddings(states=pairs.prompts.states.flip(0), pooled=pairs.prompts.pooled)
    for changed in (
        replace(pairs, prompts=flipped),
        replace(pairs, weights=pairs.weights * 2),
        replace(pairs, sigmas=pairs.sigmas / 2),
    ):
        assert trainer_of().train_step(changed, LR)["loss"] != pytest.approx(before, rel=1e-6)


def test_steps_on_one_batch_lower_the_loss_and_keep_the_frozen_weights(trainer_of):
    trainer = trainer_of()
    frozen = {
        n: w.clone() for n, w in trainer.transformer.named_parameters() if not w.requires_grad
    }

    losses = [trainer.train_step(batch(), LR)["loss"] for _ in range(30)]

    assert losses[-1] < 0.8 * losses[0]
    now = dict(trainer.transformer.named_parameters())
    assert all(torch.equal(now[name], w) for name, w in frozen.items())


@pytest.mark.parametrize(
    "changed", [{"chunk": "1"}, {"chunk": "3"}, {"recompute": "1"}, {"recompute": "2"}]
)
def test_micro_batches_and_recomputed_blocks_give_the_same_gradient(trainer_of, changed):
    one, other = trainer_of(), trainer_of(**changed)
    for trainer in (one, other):  # as long as up matrices are zero, down matrices have no gradient
        for weight in trainer.trained:
            weight.data += 0.01

    found = [trainer.train_step(batch(), LR) for trainer in (one, other)]

    assert found[0]["loss"] == pytest.approx(found[1]["loss"], rel=1e-5)
    for ours, theirs in zip(one.trained, other.trained, strict=True):
        assert ours.grad is None or torch.allclose(ours.grad, theirs.grad, rtol=1e-3, atol=1e-7)


def gradient_of_rank(folder, model, data, chunk):
    """Writes this rank's loss, and the gradient it has, of a share of one global batch."""
    torch.set_num_threads(1)
    accelerator = Accelerator(cpu=True)
    world, rank = accelerator.num_processes, accelerator.process_index
    options = {"model": str(model), "rank": 4, "size": PX, "global_batch": GLOBAL, "lr": LR}
    config = FluxConfig(
        **options, chunk=str(chunk), recompute="none", samples=0, dtype="float32", steps=9
    )
    context = run_context(folder, "train-flux", accelerator=accelerator)
    trainer = FluxTrainer(config, data, context)
    for weight in trainer.trained:  # up matrices are zero at first
        weight.data += 0.01
    share = slice(rank * GLOBAL // world, (rank + 1) * GLOBAL // world)
    loss = trainer.forward_backward(part_of(global_batch(), share))["loss"]
    gradient = torch.cat([w.grad.flatten() for w in trainer.trained if w.grad is not None])
    torch.save({"loss": loss, "gradient": gradient}, folder / f"{world}-{rank}.pt")


def global_batch():
    """GLOBAL pairs, each another one."""
    parts = [batch(seed) for seed in range(GLOBAL // B)]
    prompts = [part.prompts for part in parts]
    tensors = {
        name: torch.cat([getattr(part, name) for part in parts])
        for name in ("latents", "references", "noise", "sigmas", "weights")
    }
    joined = PromptEmbeddings(
        states=torch.cat([each.states for each in prompts]),
        pooled=torch.cat([each.pooled for each in prompts]),
    )
    return PairBatch(**tensors, prompts=joined, ids=[*map(str, range(GLOBAL))], failures=[])


def part_of(pairs, rows):
    tensors = ("latents", "references", "noise", "sigmas", "weights")
    return replace(
        pairs,
        **{name: getattr(pairs, name)[rows] for name in tensors},
        prompts=PromptEmbeddings(
            states=pairs.prompts.states[rows], pooled=pairs.prompts.pooled[rows]
        ),
        ids=pairs.ids[rows],
    )


@pytest.mark.parametrize(("world", "chunk"), [(2, 4), (4, 2)])
def test_ranks_with_an_uneven_last_micro_batch_have_the_gradient_of_one_process(
    model, data, tmp_path, world, chunk
):
    debug_launcher(gradient_of_rank, (tmp_path, model, data, chunk), num_processes=world)
    gradient_of_rank(tmp_path, model, data, GLOBAL)
    AcceleratorState._reset_state(reset_partial_state=True)

    alone = torch.load(tmp_path / "1-0.pt")
    for rank in range(world):
        found = torch.load(tmp_path / f"{world}-{rank}.pt")
        assert found["loss"] == pytest.approx(alone["loss"], rel=1e-5)
        error = (found["gradient"] - alone["gradient"]).norm() / alone["gradient"].norm()
        assert error < 1e-5


def test_every_nth_block_is_recomputed(trainer_of):
    for every, numbers in ((0, []), (1, [0, 1, 2, 3]), (2, [0, 2]), (4, [0])):
        trainer = trainer_of(recompute=str(every) if every else "none", chunk="3")
        blocks = [*trainer.transformer.transformer_blocks]
        blocks += [*trainer.transformer.single_transformer_blocks]
        passes = [0] * 4
        for number, block in enumerate(blocks):
            block.attn.register_forward_hook(partial(count, passes, number))
        trainer.train_step(batch(), LR)

        assert passes == [2 if n in numbers else 1 for n in range(4)]
        assert trainer.plan.num_recomputed == len(numbers)


def count(passes, number, *_):
    passes[number] += 1


def test_in_half_precision_the_loras_products_are_in_half_precision(trainer_of):
    trainer = trainer_of(dtype="bfloat16")
    seen = []
    layer = trainer.transformer.transformer_blocks[0].attn.to_q
    layer.lora_B["default"].register_forward_hook(lambda *hook: seen.append(hook[2].dtype))
    layer.register_forward_hook(lambda *hook: seen.append(hook[2].dtype))

    trainer.train_step(batch(), LR)

    assert set(seen) == {torch.bfloat16}
    assert {weight.dtype for weight in trainer.trained} == {torch.float32}


def test_in_half_precision_the_transformer_gets_the_official_timestep(trainer_of):
    every = shifted_sigmas(1000)
    rounded_last = timestep_input(every, torch.bfloat16)
    sigmas = every[rounded_last != every.bfloat16()][:B]  # where rounding sigma first differs
    trainer, seen = trainer_of(dtype="bfloat16", chunk=str(B)), []
    trainer.transformer.register_forward_pre_hook(
        lambda _, args, named: seen.append(named["timestep"]), with_kwargs=True
    )

    trainer.train_step(replace(batch(), sigmas=sigmas), LR)

    assert len(sigmas) == B and torch.equal(seen[0], timestep_input(sigmas, torch.bfloat16))


def test_the_averaged_weights_follow_the_weights(trainer_of):
    trainer = trainer_of(ema=0.75)
    before = [w.detach().clone() for w in trainer.trained]
    trainer.train_step(batch(), LR)
    now = [w.detach().clone() for w in trainer.trained]

    with trainer.ema_weights():
        averaged = [w.detach().clone() for w in trainer.trained]

    for was, become, average in zip(before, now, averaged, strict=True):
        assert torch.allclose(average, 0.75 * was + 0.25 * become, atol=1e-6)
    assert all(torch.equal(w, become) for w, become in zip(trainer.trained, now, strict=True))


@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler")
@pytest.mark.filterwarnings("ignore")  # torch's own
def test_compiled_blocks_have_the_losses_of_eager_ones(trainer_of, tmp_path, monkeypatch):
    from torch._inductor import config  # a second to import

    monkeypatch.setattr(config, "compile_threads", 1)  # else a pool of processes imports torch
    (tmp_path / "size.json").write_text(
        json.dumps({**TRANSFORMER, "num_layers": 0, "num_single_layers": 1})
    )
    options = {"init": str(tmp_path / "size.json"), "rank": None, "chunk": str(B)}

    eager, compiled = (trainer_of(**options, compile=is_compiled) for is_compiled in (False, True))

    for seed in (1, 2, 3):
        found = [trainer.train_step(batch(seed), LR) for trainer in (eager, compiled)]
        assert found[0] == pytest.approx(found[1], rel=1e-4)
    assert compiled.transformer.single_transformer_blocks[0]._compiled_call_impl is not None


def test_a_missing_compiler_is_reported(trainer_of, monkeypatch):
    monkeypatch.setenv("PATH", "")

    with pytest.raises(
        MegastyleError, match=r"--compile needs a C\+\+ compiler, but there is no g"
    ):
        trainer_of(compile=True)


def test_the_8_bit_optimizer_resumes_bit_for_bit(trainer_of, tmp_path):
    pytest.importorskip("bitsandbytes")
    options = {"optimizer": "adamw8bit", "full": True, "rank": None}
    before, after = trainer_of(**options), trainer_of(**options)
    before.train_step(batch(), LR)
    before.save_checkpoint()

    after.restore()
    ended = [trainer.train_step(batch(seed=2), LR) for trainer in (before, after)]

    dtypes = {state["state1"].dtype for state in after.optimizer.state.values()}
    assert torch.uint8 in dtypes and after.step == 2 and ended[0] == ended[1]
    for one, other in zip(before.trained, after.trained, strict=True):
        assert torch.equal(one, other)


def test_probing_memory_changes_nothing(trainer_of):
    trainer, other = trainer_of(), trainer_of()
    trainer.plan = replace(trainer.plan, free=1)  # as if next to nothing were free

    trainer.fit_micro_batch()

    assert trainer.micro_batch == 2 and trainer.train_step(batch(), LR) == other.train_step(
        batch(), LR
    )


@pytest.mark.parametrize(
    ("changed", "hint"),
    [
        ({"chunk": "2"}, "--chunk 1 and --resume"),
        ({"chunk": "1"}, "--chunk 1 --recompute all"),
        ({"chunk": "1", "recompute": "1"}, "--encode-text first"),
        ({"chunk": "1", "recompute": "1", "encode_text": "first"}, "--quantize int8 or nf4"),
    ],
)
def test_out_of_memory_is_reported_with_what_would_fit(trainer_of, changed, hint):
    trainer = trainer_of(**changed)

    def fill(*_):
        torch.empty(2**60, dtype=torch.uint8)

    trainer.transformer.proj_out.register_forward_hook(fill)
    with pytest.raises(MegastyleError, match="out of memory at step 0 with") as error:
        trainer.train()

    assert error.value.exit_code == 1 and hint in error.value.hint


@pytest.mark.parametrize("chunk", ["3", "1"])
def test_a_loss_that_is_not_finite_is_reported_with_the_ids_of_its_pairs(
    trainer_of, tmp_path, chunk
):
    trainer = trainer_of(chunk=chunk)
    before = [w.detach().clone() for w in trainer.trained]
    pairs = batch()
    pairs.latents[1, 0, 0] = float("nan")

    with pytest.raises(MegastyleError, match="the loss is nan at step 0"):
        trainer.train_step(pairs, LR)

    assert all(torch.equal(w, was) for w, was in zip(trainer.trained, before, strict=True))
    assert '"ids": ["a", "b", "c"]' in (tmp_path / "stopped-at-00000000.json").read_text()


def test_the_optimizer_has_pytorchs_betas(trainer_of):
    groups = trainer_of().optimizer.param_groups

    assert BETAS == (0.9, 0.999) and {group["betas"] for group in groups} == {BETAS}


def test_a_size_that_is_no_multiple_of_a_token_is_rejected(trainer_of):
    with pytest.raises(MegastyleError, match="--size 40 is not a multiple of 16") as error:
        trainer_of(size=40)

    assert error.value.hint == "give 32 or 48"
