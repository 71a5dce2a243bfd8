"""What the study trains: data sets, losses, temperatures and seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from torch import Tensor, nn

from cl_analyze.losses import DCL, DHEL, KCL, Contrastive, HardContrastive, HardSimple, Simple

TEMPERATURES = (0.07, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
BESIDE_TAU = 0.3  # of the losses beside the paper's: one of the two that the paper finds best
HARD_ALPHA = 0.1  # share of the negatives that the hard losses keep, as in the sample data
REFERENCE = "contrastive-tau-0.3"


class BothWays(nn.Module):
    """A one-way loss of two views, averaged over both directions."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, view1: Tensor, view2: Tensor) -> Tensor:
        return 0.5 * (self.loss(view1, view2) + self.loss(view2, view1))


@dataclass(frozen=True)
class Setting:
    """A loss to train with: its family in the tables, its temperature if it has one.

    `make` is a function by name, or such a one with its arguments: it goes to other processes.
    """

    family: str
    tau: float | None
    make: Callable[[], nn.Module]

    @property
    def name(self) -> str:
        return self.family if self.tau is None else f"{self.family}-tau-{self.tau}"


def _contrastive(tau: float) -> nn.Module:
    return Contrastive(tau, definition="symmetric")


def _hard(tau: float) -> nn.Module:
    return BothWays(HardContrastive(tau, HARD_ALPHA))


def _simple() -> nn.Module:
    return BothWays(Simple())


def _hard_simple() -> nn.Module:
    return BothWays(HardSimple(HARD_ALPHA))


SETTINGS = (
    *(Setting("contrastive", tau, partial(_contrastive, tau)) for tau in TEMPERATURES),
    Setting("simple", None, _simple),
    *(Setting("hard-contrastive", tau, partial(_hard, tau)) for tau in TEMPERATURES),
    Setting("hard-simple", None, _hard_simple),
    Setting("dcl", BESIDE_TAU, partial(DCL, BESIDE_TAU)),
    Setting("dhel", BESIDE_TAU, partial(DHEL, BESIDE_TAU)),
    Setting("kcl-gaussian", None, partial(KCL, "gaussian")),
)
QUICK = (
    *(f"contrastive-tau-{tau}" for tau in (0.07, 0.3, 1.0)),
    "simple",
    "hard-contrastive-tau-0.07",
    "hard-contrastive-tau-1.0",
    "hard-simple",
)


@dataclass(frozen=True)
class DataSet:
    """Images to train on and to test with, and how long to train; `quick` is how short."""

    name: str
    title: str
    n_train: int
    test_rows_per_class: int
    batch: int
    epochs: int
    flip: bool  # whether an image's mirror image is of its class
    quick: tuple[int, int] | None  # test rows of a class, and epochs; None: it is quick

    def in_short(self) -> DataSet:
        """The same for `--quick`."""
        assert self.quick is not None
        rows, epochs = self.quick
        return replace(self, test_rows_per_class=rows, epochs=epochs, quick=None)


DATA_SETS = (
    DataSet("fashion-mnist", "Fashion-MNIST", 10_000, 500, 512, 30, flip=True, quick=(200, 8)),
    DataSet("digits", "Digits", 1_000, 70, 250, 200, flip=False, quick=(40, 40)),
)


@dataclass(frozen=True)
class Run:
    """One encoder to train."""

    data: DataSet
    setting: Setting
    seed: int

    @property
    def folder(self) -> str:
        """Where the runs of its kind are, below the study's folder: long and short ones apart."""
        return f"{self.data.name}-{self.data.epochs}-epochs{'' if self.data.quick else '-quick'}"

    @property
    def path(self) -> str:
        """Where it is saved, below the study's folder."""
        return f"{self.folder}/seed-{self.seed}/{self.setting.name}.npz"

    @property
    def n_steps(self) -> int:
        return self.data.epochs * (self.data.n_train // self.data.batch)


def runs(data: DataSet, names: tuple[str, ...], seeds: int) -> list[Run]:
    """Seed by seed, so that a study that is stopped early has whole seeds."""
    settings = [one for one in SETTINGS if one.name in names]
    return [Run(data, setting, seed) for seed in range(seeds) for setting in settings]
