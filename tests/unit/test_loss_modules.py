"""The losses as modules: gradients, precision, guards, ranks.  Values are in reference/."""

from __future__ import annotations

import inspect
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cl_analyze as cla
from cl_analyze import losses
from cl_analyze.errors import ConfigError
from tests.forks import SECONDS

torch = pytest.importorskip("torch")

FRAME = losses.orthonormal_frame(4, 6).double()

MODULES = {
    "contrastive": lambda **o: losses.Contrastive(0.3, **o),
    "contrastive symmetric": lambda **o: losses.Contrastive(0.3, "symmetric", **o),
    "hard contrastive": lambda **o: losses.HardContrastive(0.3, 0.4, **o),
    "simple": lambda **o: losses.Simple(**o),
    "hard simple": lambda **o: losses.HardSimple(0.4, **o),
    "triplet": lambda **o: losses.TripletLimit(**o),
    "nt-xent": lambda **o: losses.NTXent(0.3, **o),
    "dcl": lambda **o: losses.DCL(0.3, **o),
    "dcl one way": lambda **o: losses.DCL(0.3, "one_way", **o),
    "dclw": lambda **o: losses.DCLW(0.3, **o),
    "dhel": lambda **o: losses.DHEL(0.3, **o),
    "dhel one sided": lambda **o: losses.DHEL(0.3, "one_sided", **o),
    "dhel official": lambda **o: losses.DHEL(0.3, "official", **o),
    "kcl gaussian": lambda **o: losses.KCL("gaussian", **o),
    "kcl log": lambda **o: losses.KCL("log", definition="official", **o),
    "kcl imq": lambda **o: losses.KCL("imq", **o),
    "kcl riesz": lambda **o: losses.KCL("riesz", definition="gaussian_riesz", **o),
    "siglip": lambda **o: losses.SigLIP(0.3, -2.0, **o),
    "spectral": lambda **o: losses.SpectralContrastive(**o),
    "vicreg": lambda **o: losses.VICReg(**o),
    "vicreg normalised": lambda **o: losses.VICReg(2.0, 3.0, 4.0, "normalised", **o),
    "barlow": lambda **o: losses.BarlowTwins(0.5, **o),
    "barlow normalised": lambda **o: losses.BarlowTwins(0.5, "normalised", **o),
    "supcon": lambda **o: losses.SupCon(0.3, **o),
    "supcon in": lambda **o: losses.SupCon(0.3, "in", **o),
    "nscl": lambda **o: losses.NSCL(0.3, **o),
    "nscl official": lambda **o: losses.NSCL(0.3, "official", **o),
    "cacr": lambda **o: losses.CACR(**o),
    "a-infonce": lambda **o: losses.AInfoNCE(0.3, share=0.5, tau_plus=0.1, beta=1.0, **o),
    "icl": lambda **o: losses.ICL(**o),
    "icl exponential": lambda **o: losses.ICL("exponential", **o),
    "clop": lambda **o: losses.CLOP(FRAME, **o),
}
NEEDS_LABELS = ("supcon", "nscl", "icl", "clop")
STOPS_GRADIENTS = ("cacr", "a-infonce")
TAKE_ROWS_AS_THEY_ARE = ("vicreg",)
DECOUPLED = ("dcl", "dhel", "nscl")


def batch(m=9, d=6, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    u = torch.randn(m, d, generator=generator, dtype=torch.float64)
    v = u + 0.4 * torch.randn(m, d, generator=generator, dtype=torch.float64)
    labels = torch.arange(m) % 3
    labels[-1] = -1
    return u.to(dtype), v.to(dtype), labels


def arguments(name, labels):
    return (labels,) if name.startswith(NEEDS_LABELS) else ()


def test_every_exported_module_is_tested():
    made = {type(make()) for make in MODULES.values()}
    exported = {
        value
        for name in losses.__all__
        if isinstance(value := getattr(losses, name), type)
        and issubclass(value, losses.PairLoss)
        and value is not losses.PairLoss
    }
    assert made == exported


@pytest.mark.parametrize("name", [n for n in MODULES if n not in STOPS_GRADIENTS])
def test_gradients_are_those_of_finite_differences(name):
    u, v, labels = batch()
    loss = MODULES[name]()
    u.requires_grad_(True)
    v.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, *arguments(name, labels)), (u, v))


def test_stopped_gradients():
    u, v, _ = batch()
    u.requires_grad_(True)
    v.requires_grad_(True)
    whole = losses.a_infonce(u, v, 0.3, share=1.0)
    of_u, of_v = torch.autograd.grad(whole, (u, v), allow_unused=True)
    assert of_u.abs().max() > 0
    assert of_v is None or of_v.abs().max() == 0
    symmetric = losses.contrastive(u, v, 0.3, "symmetric")
    assert whole.item() == pytest.approx(symmetric.item(), rel=1e-12)
    half = torch.autograd.grad(losses.a_infonce(u, v, 0.3, share=0.5), (u, v))
    full = torch.autograd.grad(symmetric, (u, v))
    for a, b in zip(half, full, strict=True):
        torch.testing.assert_close(a, 0.5 * b)


def test_hard_negative_weights_against_a_loop():
    u, v, _ = batch(7)
    tau, beta, tau_plus = 0.5, 1.0, 0.1
    x, y = (torch.nn.functional.normalize(z, dim=1).numpy() for z in (u, v))
    total = []
    for a, b in ((x, y), (y, x)):
        for i in range(7):
            e = np.array([math.exp(a[i] @ b[j] / tau) for j in range(7) if j != i])
            positive = math.exp(a[i] @ b[i] / tau)
            weighted = (e**beta * e).sum() / (e**beta).mean()
            ng = max((weighted - tau_plus * 6 * positive) / (1 - tau_plus), 6 * math.exp(-1 / tau))
            total.append(-math.log(positive / (positive + ng)))
    value = losses.a_infonce(u, v, tau, beta=beta, tau_plus=tau_plus)
    assert float(value) == pytest.approx(np.mean(total), rel=1e-9)


@pytest.mark.parametrize("name", MODULES)
def test_reductions(name):
    u, v, labels = batch()
    each = MODULES[name](reduction="none")(u, v, *arguments(name, labels))
    total = MODULES[name](reduction="sum")(u, v, *arguments(name, labels))
    mean = MODULES[name]()(u, v, *arguments(name, labels))
    n = 8 if name.startswith(NEEDS_LABELS) else 9
    assert each.shape == (9,)
    torch.testing.assert_close(each.sum(), total)
    torch.testing.assert_close(total / n, mean)


def function_of(module):
    """The function of a module: of its name, in lower case."""
    (found,) = (
        value
        for name in losses.__all__
        if inspect.isfunction(value := getattr(losses, name))
        and name.replace("_", "") == module.__name__.lower()
    )
    return found


@pytest.mark.parametrize("module", sorted({type(make()) for make in MODULES.values()}, key=str))
def test_a_function_has_the_parameters_types_and_docstring_of_its_module(module):
    function = function_of(module)
    inputs = ["u", "v", *(["labels"] if module.__name__.lower().startswith(NEEDS_LABELS) else [])]
    parameters = dict(inspect.signature(function).parameters)
    assert list(parameters)[: len(inputs)] == inputs
    assert function.__module__ == module.__module__
    if function is losses.contrastive:  # written out: the queue stands among its options
        assert ">>>" in function.__doc__
        return
    options = {name: parameters[name] for name in parameters if name not in inputs}
    expected = dict(inspect.signature(module, eval_str=True).parameters)
    assert options.pop("gather").default is False
    assert expected.pop("gather").default is True
    assert list(options.values()) == list(expected.values())
    (described,) = (line for line in function.__doc__.splitlines() if "u, v: (M, D)" in line)
    lines = [line for line in function.__doc__.splitlines() if line != described]
    assert set(inspect.getdoc(module).splitlines()) <= set(lines)


@pytest.mark.parametrize("name", MODULES)
def test_functions_and_rescaled_inputs(name):
    u, v, labels = batch()
    loss = MODULES[name]()
    function = function_of(type(loss))
    options = {
        key: getattr(loss, key)
        for key in inspect.signature(type(loss)).parameters
        if key != "gather"
    }
    alone = function(u, v, *arguments(name, labels), **options)
    torch.testing.assert_close(alone, loss(u, v, *arguments(name, labels)), rtol=0, atol=0)
    with pytest.raises(TypeError, match="nothing"):
        function(u, v, *arguments(name, labels), **options, nothing=1)
    scaled = loss(7.0 * u, 0.01 * v, *arguments(name, labels))
    if name in TAKE_ROWS_AS_THEY_ARE:
        assert scaled > 10.0 * loss(u, v)
        return
    torch.testing.assert_close(loss(u, v, *arguments(name, labels)), scaled)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_and_half_inputs_are_computed_in_float32(name, dtype):
    u, v, labels = batch(dtype=dtype)
    make = losses.CLOP(FRAME.float()) if name.startswith("clop") else MODULES[name]()
    expected = make(u.float(), v.float(), *arguments(name, labels))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = make(u, v, *arguments(name, labels))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


def crowded(m=256, d=64):
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(1, d, generator=generator)
    unit = torch.nn.functional.normalize
    u = unit(unit(base, dim=1) + 0.05 * torch.randn(m, d, generator=generator), dim=1)
    return u, unit(u + 0.02 * torch.randn(m, d, generator=generator), dim=1)


@pytest.mark.parametrize("tau", [0.02, 0.011, 0.01, 0.005])
def test_small_temperatures_in_float32(tau):
    """Where a product of sums overflows (the official DHEL) and additive masks leak (DCL)."""
    u, v = crowded()
    naive = torch.exp(u @ u.T / tau).sum(1) * torch.exp(v @ v.T / tau).sum(1)
    assert not torch.isfinite(naive).all()
    for make in (
        lambda: losses.DHEL(tau, "official"),
        lambda: losses.DHEL(tau),
        lambda: losses.DCL(tau),
        lambda: losses.NTXent(tau),
        lambda: losses.Contrastive(tau, "symmetric"),
        lambda: losses.HardContrastive(tau),
        lambda: losses.SupCon(tau),
        lambda: losses.SigLIP(tau),
    ):
        labels = torch.arange(len(u)) % 5
        a, b = u.clone().requires_grad_(True), v.clone().requires_grad_(True)
        single = make()(a, b, labels)
        single.backward()
        double = make()(u.double(), v.double(), labels)
        assert torch.isfinite(a.grad).all()
        assert torch.isfinite(b.grad).all()
        assert single.item() == pytest.approx(double.item(), rel=2e-6, abs=3e-7 / tau)


def test_the_mask_of_self_pairs_is_infinite():
    # an additive mask of log(1e-45) leaves self-similarity in at tau = 0.005
    u = torch.eye(4, 8)
    v = torch.roll(u, 1, dims=1)
    value = losses.dcl(u, v, 0.005, "one_way")
    # each row has three others at 0 in its own view, two at 0 and one at 1 in the other
    rows = [5 + math.exp(200.0)] * 3 + [6.0]
    expected = sum(math.log(x) for x in rows) / 4
    assert float(value) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", MODULES)
def test_batches_without_negatives_give_finite_values_and_gradients(name):
    for m, label in ((1, 0), (4, 0), (4, -1)):
        u, v, _ = batch(m)
        labels = torch.full((m,), label)
        u.requires_grad_(True)
        value = MODULES[name]()(u, v, *arguments(name, labels))
        assert torch.isfinite(value), (m, label)
        (gradient,) = torch.autograd.grad(value, u)
        assert torch.isfinite(gradient).all(), (m, label)
        if name.startswith(DECOUPLED) and m == 1:
            assert value.item() == 0.0


def test_wrong_inputs_are_named():
    u, v, labels = batch()
    with pytest.raises(ConfigError, match=r"M > 0, found \(9, 6\) and \(8, 6\)"):
        losses.contrastive(u, v[:-1])
    with pytest.raises(ConfigError, match=r"labels must be \(9,\).*found \(8,\)"):
        losses.supcon(u, v, labels[:-1])
    with pytest.raises(ConfigError, match="SupCon needs labels"):
        losses.SupCon()(u, v)
    with pytest.raises(ConfigError, match=r"contrastive\[moco\] needs queue"):
        losses.contrastive(u, v, definition="moco")
    with pytest.raises(ConfigError, match=r"contrastive\[one_way\] has no queue"):
        losses.contrastive(u, v, queue=v)
    with pytest.raises(ConfigError, match="reduction must be one of none, mean, sum, found 'med"):
        losses.DCL(reduction="median")
    with pytest.raises(ConfigError, match=r"u must be a torch tensor.*found ndarray"):
        losses.dhel(u.numpy(), v)
    with pytest.raises(ConfigError, match=r"M > 0, found \(0, 6\)"):
        losses.dhel(u[:0], v[:0])
    with pytest.raises(ConfigError, match=r"labels must be a torch tensor of integers.*float32"):
        losses.supcon(u, v, labels.float())
    with pytest.raises(ConfigError, match=r"labels must be a torch tensor of integers.*list"):
        losses.supcon(u, v, labels.tolist())
    with pytest.raises(ConfigError, match=r"queue must be a \(K, 6\) tensor.*found \(9, 5\)"):
        losses.contrastive(u, v, definition="moco", queue=u[:, :5])
    with pytest.raises(ConfigError, match=r"anchors must be a \(K, 6\) tensor"):
        losses.clop(u, v, labels, FRAME[:, :5])
    with pytest.raises(ConfigError, match="5 orthonormal anchors do not fit into 3 dimensions"):
        losses.orthonormal_frame(5, 3)
    with pytest.raises(ConfigError, match="label 4 has no anchor: there are 4"):
        losses.clop(u, v, torch.full((9,), 4), FRAME)
    with pytest.raises(ConfigError, match=r"positive must be \(M,\)"):
        losses.similarity_gradients(u, v)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = losses.nothing


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.DHEL(tau=0), "tau must be a finite number > 0, found 0"),
        (lambda: losses.Contrastive(tau=-1.0), "tau must be a finite number > 0, found -1.0"),
        (lambda: losses.NTXent(tau="a"), "tau must be a finite number > 0, found 'a'"),
        (lambda: losses.DCLW(sigma=math.nan), "sigma must be a finite number > 0, found nan"),
        (lambda: losses.DHEL(definition="x"), "definition must be one of symmetric, one_sided, of"),
        (lambda: losses.Contrastive(definition="x"), "definition must be one of one_way, symm"),
        (lambda: losses.KCL("rbf"), "kernel must be one of gaussian, log, imq, riesz, found 'rbf'"),
        (lambda: losses.KCL(t=0), "t must be a finite number > 0, found 0"),
        (lambda: losses.KCL(gamma=-1), "gamma must be a finite number > 0, found -1"),
        (lambda: losses.HardContrastive(alpha=0), r"alpha must lie in \(0, 1\], found 0"),
        (lambda: losses.HardSimple(alpha=2), r"alpha must lie in \(0, 1\], found 2"),
        (lambda: losses.Simple(weight=-1), "weight must be a finite number > 0, found -1"),
        (
            lambda: losses.KCL("gaussian", definition="official"),
            "of the gaussian kernel must",
        ),
        (lambda: losses.SigLIP(tau=0), "tau must be a finite number > 0, found 0"),
        (lambda: losses.SigLIP(bias=math.inf), "bias must be a finite number, found inf"),
        (lambda: losses.SigLIP(bias=True), "bias must be a finite number, found True"),
        (lambda: losses.VICReg(covariance=-1), "covariance must be a finite number > 0, found -1"),
        (lambda: losses.VICReg(definition="unit"), "definition must be one of as_saved, normal"),
        (lambda: losses.BarlowTwins(weight="a"), "weight must be a finite number > 0, found 'a'"),
        (lambda: losses.BarlowTwins(definition="x"), "definition must be one of as_saved, norm"),
        (lambda: losses.SupCon(definition="both"), "definition must be one of out, in, found"),
        (lambda: losses.NSCL(definition="x"), "definition must be one of decoupled, official"),
        (lambda: losses.ICL("zzz"), "definition must be one of mmd, exponential, found 'zzz'"),
        (lambda: losses.CACR(beta=-1), "beta must be a finite number > 0, found -1"),
        (lambda: losses.AInfoNCE(share=3), r"share must lie in \[0, 1\], found 3"),
        (lambda: losses.AInfoNCE(tau_plus=1), r"tau_plus must lie in \[0, 1\), found 1"),
    ],
)
def test_options_are_checked_where_they_are_given(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_broken_row_is_not_a_perfect_loss(name, broken):
    u, v, labels = batch()
    u[0, 0] = broken
    assert math.isnan(MODULES[name]()(u, v, *arguments(name, labels)).item())


def test_the_package_can_be_called_and_does_not_load_torch_before_it_must():
    code = (
        "import sys, cl_analyze as cla\n"
        "import cl_analyze.losses\n"
        "assert 'torch' not in sys.modules\n"
        "import numpy as np\n"
        "r = cla.losses(np.eye(3), np.eye(3), taus=[0.5])\n"
        "assert 'torch' not in sys.modules\n"
        "assert abs(r.find('loss', name='contrastive').value - 0.239545) < 1e-6\n"
        "assert cla.losses.Contrastive(0.5).tau == 0.5\n"
        "assert 'contrastive' in dir(cla.losses)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert cla.losses is losses


RANKS = """
import sys, torch, torch.distributed as dist
import cl_analyze.losses as losses
from tests.unit.test_loss_modules import MODULES, arguments, batch
rank, world, port = int(sys.argv[1]), 2, sys.argv[2]
dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
u, v, labels = batch(9)
mine = slice(0, 5) if rank == 0 else slice(5, 9)        # uneven
for name, make in MODULES.items():
    a = u[mine].clone().requires_grad_(True)
    b = v[mine].clone().requires_grad_(True)
    value = make()(a, b, *arguments(name, labels[mine]))
    value.backward()
    whole_u, whole_v = u.clone().requires_grad_(True), v.clone().requires_grad_(True)
    whole = make(gather=False)(whole_u, whole_v, *arguments(name, labels))
    whole.backward()
    torch.testing.assert_close(value, whole)
    # a rank's gradient is divided by the number of ranks when they are averaged
    torch.testing.assert_close(a.grad / world, whole_u.grad[mine])
    torch.testing.assert_close(b.grad / world, whole_v.grad[mine])
    each = make(reduction="none")(u[mine], v[mine], *arguments(name, labels[mine]))
    alone = make(reduction="none", gather=False)(u, v, *arguments(name, labels))[mine]
    torch.testing.assert_close(each, alone)
print("ok")
dist.destroy_process_group()
"""


def test_two_ranks_see_the_joined_batch(tmp_path):
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    script = tmp_path / "rank.py"
    script.write_text(RANKS)
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), port],
            cwd=root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in ranks:
        out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, err
        assert out.strip().endswith("ok")
