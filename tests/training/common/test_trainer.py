"""The training loop, on a linear model: when it validates, samples and saves, stops and resumes."""

import json
import math
from dataclasses import dataclass, field

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file, save_file
from torch import nn

from megastyle_cli.core.errors import TRY_AGAIN, MegastyleError
from megastyle_cli.core.record import Failure
from megastyle_cli.training.common.memory_plan import Footprint, plan_memory
from megastyle_cli.training.common.optimizer import build_optimizer
from megastyle_cli.training.common.run_folder import lock_folder
from megastyle_cli.training.common.trainer import Trainer
from megastyle_cli.training.encoder.config import EncoderConfig
from tests.conftest import lines
from tests.core.test_owner import elsewhere, write_owner
from tests.training.contexts import run_context

FOOTPRINT = Footprint(layers=1, tokens=1, kept=1, inputs=1, outside=1)


@dataclass
class Batch:
    x: torch.Tensor
    failures: list[Failure] = field(default_factory=list)


class LinearTrainer(Trainer[Batch]):
    """Learns y = 2 x with one weight; `calls` notes what the loop does, with its step."""

    items, noun, out_of_memory_hint = "numbers", "numbers", "give less"

    def __init__(self, config, num_steps, context):
        super().__init__(config, num_steps, context)
        self.model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.model.weight)
        self.trained = list(self.model.parameters())
        self.ema = [w.detach().clone() for w in self.trained] if config.ema else []
        self.optimizer = build_optimizer(self.model, config, betas=(0.9, 0.99), fused=False)
        self.plan = plan_memory(FOOTPRINT, items=4, fixed=0, free=100)
        self.micro_batch = self.plan.micro_batch
        self.calls, self.probed = [], []
        self.failures = {}  # step -> images that cannot be used
        self.stop_at = None

    def batches(self):
        for step in range(self.step, self.num_steps):
            if step == self.stop_at:
                self.context.stop.requested = True
            x = torch.rand(4, 1, generator=torch.Generator().manual_seed(step))
            yield Batch(x, self.failures.get(step, []))

    def forward_backward(self, batch):
        loss = (self.model(batch.x) - 2 * batch.x).square().mean()
        loss.backward()
        return {"loss": loss.item()}

    def batch_ids(self, batch):
        return [f"{x:.2f}" for x in batch.x[:, 0].tolist()]

    def validate(self):
        self.calls.append(("validate", self.step))
        scores = {"error": abs(2 - self.model.weight.item())}
        self.log_validation(scores)
        return scores

    def paint_samples(self):
        self.calls.append(("paint", self.step))

    def write_weights(self, folder):
        self.calls.append(("save", self.step))
        save_file(self.model.state_dict(), folder / "model.safetensors")

    def read_weights(self, folder):
        self.model.load_state_dict(load_file(folder / "model.safetensors"))

    def ema_state(self):
        return {"ema": self.ema}

    def load_ema(self, state):
        for average, saved in zip(self.ema, state["ema"], strict=True):
            average.copy_(saved)

    def export(self):
        save_file({"weight": self.model.weight.detach()}, self.folder / "final.safetensors")
        return self.folder / "final.safetensors"

    def probe_memory(self, micro_batch):
        self.probed.append(micro_batch)


@pytest.fixture
def trainer_in(tmp_path):
    def make(name="run", steps=10, max_errors="0", owner=None, **changed):
        options = {"global_batch": 4, "lr": 0.1, "warmup": 0.0, "clip": 0.0}
        options |= {"validate_every": 4, "checkpoint_every": 100, **changed}
        (tmp_path / name).mkdir(exist_ok=True)
        context = run_context(tmp_path / name, "train-encoder", max_errors, owner=owner)
        trainer = LinearTrainer(EncoderConfig(**options), steps, context)
        trainer.restore()
        return trainer

    yield make
    AcceleratorState._reset_state(reset_partial_state=True)


def metrics(trainer):
    clock = ("seconds", "numbers_per_s")
    found = lines(trainer.folder / "metrics.jsonl")
    return [{k: v for k, v in line.items() if k not in clock} for line in found]


def test_everything_is_done_when_it_is_due_and_after_the_last_step(trainer_in):
    trainer = trainer_in(checkpoint_every=3)
    trainer.sample_every = 5

    result = trainer.train()

    assert trainer.calls == [
        *(("validate", 0), ("save", 3), ("validate", 4), ("paint", 5), ("save", 6)),
        *(("validate", 8), ("save", 9), ("validate", 10), ("paint", 10), ("save", 10)),
    ]
    assert (result.step, result.finished) == (10, trainer.folder / "final.safetensors")
    assert result.held_out["error"] < metrics(trainer)[0]["held_out"]["error"]
    assert not (trainer.folder / "stopped").exists()


def test_every_step_is_logged_with_its_loss_rate_and_speed(trainer_in):
    trainer = trainer_in(steps=3)

    losses = trainer.train().losses

    found = [line for line in lines(trainer.folder / "metrics.jsonl") if "loss" in line]
    assert [line["step"] for line in found] == [1, 2, 3]
    assert {"loss", "gradient_norm", "lr", "numbers_per_s", "seconds"} < found[0].keys()
    assert found[-1]["loss"] == losses["loss"]


def test_a_signal_saves_the_step_and_a_resumed_run_equals_an_uninterrupted_one(trainer_in):
    whole, first = trainer_in("whole", ema=0.5), trainer_in("run", ema=0.5)
    whole.train()
    first.stop_at = 6

    stopped = first.train()
    assert (stopped.step, stopped.finished) == (7, None)
    assert (first.folder / "stopped").exists()
    resumed = trainer_in("run", ema=0.5)
    assert resumed.step == 7
    resumed.train()

    names = ("final.safetensors", "latest/model.safetensors")
    for name in names:
        assert (resumed.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    assert metrics(resumed) == metrics(whole)


@pytest.mark.parametrize(
    "forge",
    [
        lambda state: state.pop("optimizer"),
        lambda state: state.update(step="two"),
        lambda state: state.update(optimizer=[1]),
        lambda state: state["optimizer"].pop("param_groups"),
    ],
)
def test_a_forged_checkpoint_is_refused_in_a_sentence(trainer_in, forge):
    first = trainer_in("run")
    first.train()
    path = first.folder / "latest" / "training.pt"
    state = torch.load(path, weights_only=True)
    forge(state)
    torch.save(state, path)

    with pytest.raises(MegastyleError, match="step-.* is damaged or belongs to another run"):
        trainer_in("run")


def test_a_finished_run_exports_again_without_a_step(trainer_in):
    trainer_in().train()
    again = trainer_in()

    result = again.train()

    assert again.calls == [] and result.losses == {} and result.finished.exists()


def test_gradients_are_clipped_to_the_maximum_norm(trainer_in):
    # SGD without a momentum of earlier steps: the first update is lr times 1.9 times the gradient
    changed = {"optimizer": "sgd", "weight_decay": 0.0, "schedule": "constant"}
    free, clipped = trainer_in(**changed), trainer_in("clipped", clip=0.25, **changed)
    batch = next(free.batches())

    norms = [each.train_step(batch, 0.1)["gradient_norm"] for each in (free, clipped)]

    assert norms[0] == norms[1] > 0.25  # the norm before clipping is logged
    updates = [float(each.model.weight.detach().abs()) for each in (free, clipped)]
    assert updates == pytest.approx([0.19 * norms[0], 0.19 * 0.25], rel=1e-4)


def test_the_averaged_weights_are_in_place_inside_and_exported(trainer_in):
    trainer = trainer_in(ema=0.75, steps=1)
    trainer.train()
    weight, average = trainer.trained[0].item(), trainer.ema[0].item()

    with trainer.ema_weights():
        assert trainer.model.weight.item() == average
        assert not torch.is_grad_enabled()

    assert trainer.model.weight.item() == weight and average == pytest.approx(0.25 * weight)
    assert load_file(trainer.folder / "final.safetensors")["weight"].item() == average


def test_too_many_failures_end_it_with_a_checkpoint(trainer_in):
    failures = [Failure({"id": name}, "bad_image", f"{name}.png is empty") for name in "ab"]
    tolerant = trainer_in("tolerant", max_errors="2")
    trainer = trainer_in(max_errors="1")
    for each in (tolerant, trainer):
        each.failures = {2: failures[:1], 4: failures}

    assert tolerant.train().step == 10
    with pytest.raises(MegastyleError, match="2 records cannot be used") as error:
        trainer.train()

    assert error.value.exit_code == 3 and trainer_in().step == 5
    assert [record["id"] for record in lines(trainer.folder / "errors.jsonl")] == ["a", "b"]


def test_a_loss_that_is_not_finite_ends_it_before_the_weights_change(trainer_in):
    trainer = trainer_in()
    batch = next(trainer.batches())
    batch.x[2] = math.nan

    with pytest.raises(MegastyleError, match="the loss is nan at step 0") as error:
        trainer.train_step(batch, 0.1)

    assert error.value.exit_code == 1 and trainer.model.weight.item() == 0
    facts = json.loads((trainer.folder / "stopped-at-00000000.json").read_text())
    assert facts["step"] == 0 and facts["loss"] == "nan" and facts["ids"][2] == "nan"


@pytest.mark.parametrize("part", ["trained", "ema"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_not_saved(trainer_in, part, value):
    trainer = trainer_in(ema=0.9, checkpoint_every=1)
    trainer.train()
    with torch.no_grad():
        getattr(trainer, part)[0][0, 0] = value
    trainer.step += 1

    with pytest.raises(MegastyleError, match="the weights are not finite after step 11") as error:
        trainer.save_checkpoint()

    assert error.value.exit_code == 1 and "--resume --force" in error.value.hint
    assert trainer_in(ema=0.9).step == 10


def test_a_training_that_was_replaced_saves_and_logs_nothing_more(trainer_in, tmp_path):
    folder = tmp_path / "run"
    with lock_folder(folder) as owner:
        trainer = trainer_in(owner=owner, checkpoint_every=1, validate_every=0)
        write_weights = trainer.write_weights

        def replaced_at_step_3(saved):
            write_weights(saved)
            if trainer.step == 3:
                write_owner(folder / "run.json", elsewhere())

        trainer.write_weights = replaced_at_step_3
        with pytest.raises(MegastyleError, match="was taken over by Slurm job 12_3") as caught:
            trainer.train()

    assert caught.value.exit_code == TRY_AGAIN and owner.path.exists()
    saved = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert saved == ["step-00000001", "step-00000002"] and metrics(trainer)[-1]["step"] == 3


def test_memory_is_probed_only_where_it_is_tight(trainer_in):
    roomy, tight = trainer_in(), trainer_in()
    tight.plan = plan_memory(FOOTPRINT, items=4, fixed=0, free=10)

    roomy.fit_micro_batch()
    tight.fit_micro_batch()

    assert roomy.probed == [] and tight.probed == [tight.micro_batch]
