"""Every loss against loops, published fixtures, closed forms and limits: both faces of each."""

from __future__ import annotations

import inspect
import itertools
import math
import multiprocessing
import typing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from scipy import stats

import cl_analyze as cla
from cl_analyze import RunOptions, losses
from cl_analyze.data.rows import RowArray
from cl_analyze.data.unit import UnitRows
from cl_analyze.metrics.losses.catalogue import LOSSES, OTHER_LOSSES, TORCH_ONLY
from cl_analyze.metrics.losses.dimensions import FORMS, dense_dimensions, saved_dimensions
from cl_analyze.metrics.losses.readings import READINGS
from cl_analyze.pairs.executors import FuturesExecutor, SerialExecutor
from tests.reference import naive_losses as naive
from tests.reference.cases import as_array, cases

torch = pytest.importorskip("torch")

ALPHA, T, GAMMA, BIAS = 0.3, 1.5, 5.0, -3.0


def views(name):
    """Two views and labels of one of the cases."""
    rows, labels = cases()[name]
    random = np.random.default_rng(3)
    scale = np.linalg.norm(rows, axis=1, keepdims=True) / math.sqrt(rows.shape[1])
    return rows, rows + 0.4 * scale * random.standard_normal(rows.shape), labels


NAMES = (
    "plain",
    "clustered",
    "duplicates",
    "norms from 1e-30 to 1e30",
    "some unlabelled",
    "singletons",
    "antipodal",
    "three rows",
)


def by_loops(w, tau):
    """name, definition -> value, for every loss of the catalogue."""
    found = {
        ("contrastive", "one_way"): naive.contrastive(w, tau),
        ("contrastive", "symmetric"): naive.symmetric(w, tau),
        ("hard_contrastive", None): naive.hard_contrastive(w, tau, ALPHA),
        ("nt_xent", None): naive.nt_xent(w, tau),
        ("dcl", "symmetric"): naive.dcl(w, tau),
        ("dcl", "one_way"): naive.dcl(w, tau, ("u",)),
        ("dclw", None): naive.dclw(w, tau),
        **{
            ("dhel", definition): naive.dhel(w, tau, definition)
            for definition in ("symmetric", "one_sided", "official")
        },
        ("simple", None): naive.simple(w),
        ("hard_simple", None): naive.hard_simple(w, ALPHA),
        ("triplet_limit", None): naive.triplet_limit(w),
        ("kcl_gaussian", None): naive.kcl(w, "gaussian", T, GAMMA),
        ("kcl_log", "consistent"): naive.kcl(w, "log", T, GAMMA),
        ("kcl_log", "official"): naive.kcl(w, "log", T, GAMMA, factor=4.0),
        ("kcl_imq", None): naive.kcl(w, "imq", T, GAMMA),
        ("kcl_riesz", "consistent"): naive.kcl(w, "riesz", T, GAMMA),
        ("kcl_riesz", "gaussian_riesz"): naive.kcl(
            w, "riesz", T, GAMMA, aligned_by=("gaussian", 2.0)
        ),
        ("cacr", None): naive.cacr(w),
        ("siglip", None): naive.siglip(w, tau, BIAS),
        ("spectral_contrastive", None): naive.spectral(w),
        **{
            (name, form): loss(w, form)
            for name, loss in (("vicreg", naive.vicreg), ("barlow_twins", naive.barlow_twins))
            for form in ("as_saved", "normalised")
        },
        ("supcon", "out"): naive.supcon(w, tau, "out"),
        ("supcon", "in"): naive.supcon(w, tau, "in"),
        ("nscl", "decoupled"): naive.nscl(w, tau, "decoupled"),
        ("nscl", "official"): naive.nscl(w, tau, "official"),
    }
    if w.queue is not None:
        found["contrastive", "moco"] = naive.with_queue(w, tau, batch=False)
        found["contrastive", "one_way_queue"] = naive.with_queue(w, tau, batch=True)
    return found


def by_module(loss, u, v, labels, tau, queue=None):
    """The same from the torch face that the catalogue names."""
    values = {"tau": tau, "alpha": ALPHA, "t": T, "gamma": GAMMA, "sigma": 0.5, "bias": BIAS}
    options = {name: values[name] for name in loss.params if name in values}
    if loss.definition is not None:
        options["definition"] = loss.definition
    if loss.kernel is not None:
        options["kernel"] = loss.kernel
    if loss.name == "cacr":
        options["t"] = 1.0
    if loss.needs == "labels":
        options["labels"] = labels
    if loss.needs == "queue":
        options["queue"] = queue
    return getattr(losses, loss.function)(u, v, **options)


def codes_of(labels):
    names = sorted({label for label in labels if label is not None}, key=str)
    return torch.tensor([-1 if label is None else names.index(label) for label in labels])


@pytest.mark.parametrize(
    ("name", "tau"),
    [(name, 0.3) for name in NAMES]
    + [("clustered", 0.05), ("some unlabelled", 2.0), ("duplicates", 0.05)],
)
def test_both_faces_against_loops(name, tau):
    u, v, labels = views(name)
    queue = np.random.default_rng(8).standard_normal((9, u.shape[1]))
    expected = by_loops(naive.Views(u, v, labels, queue), tau)
    assert set(expected) == {(loss.name, loss.definition) for loss in LOSSES}
    for block in (7, 64):
        found = cla.losses(
            u,
            v,
            as_array(labels),
            taus=[tau],
            hard_alpha=ALPHA,
            kcl_t=T,
            kcl_gamma=GAMMA,
            siglip_bias=BIAS,
            queue=queue,
            run=RunOptions(precision="float64", block=block, unlabelled=""),
        )
        single = cla.losses(
            u,
            v,
            as_array(labels),
            taus=[tau],
            hard_alpha=ALPHA,
            kcl_t=T,
            kcl_gamma=GAMMA,
            siglip_bias=BIAS,
            queue=queue,
            run=RunOptions(precision="float32", block=block, unlabelled=""),
        )
        for (loss, definition), value in expected.items():
            record = found.find("loss", definition, name=loss)
            narrow = single.find("loss", definition, name=loss)
            if value is None or not math.isfinite(value):
                assert record.value is None, (loss, definition)
                assert record.reason
                continue
            assert record.value == pytest.approx(value, rel=1e-9, abs=1e-9), (loss, definition)
            tolerance = 1e-6 * max(1.0, 0.07 / tau)
            assert narrow.value == pytest.approx(value, rel=tolerance, abs=tolerance), loss
            parts = [
                found.find(metric, definition, name=loss).value
                for metric in ("loss_alignment", "loss_uniformity")
            ]
            if loss == "triplet_limit":
                assert parts == [None, None]
            else:
                assert sum(parts) == pytest.approx(value, rel=1e-9, abs=1e-9), loss
    ut, vt, qt = (torch.tensor(x, dtype=torch.float64) for x in (u, v, queue))
    for loss in LOSSES:
        value = expected[loss.name, loss.definition]
        if value is None or not math.isfinite(value):
            continue
        got = float(by_module(loss, ut, vt, codes_of(labels), tau, qt))
        # the module's distances come from cosines: near pairs lose digits under the Riesz kernel
        tolerance = 1e-9 if loss.kernel != "riesz" else 1e-6
        assert got == pytest.approx(value, rel=tolerance, abs=tolerance), loss
        if name != "norms from 1e-30 to 1e30" and loss.kernel != "riesz":
            single_face = by_module(loss, ut.float(), vt.float(), codes_of(labels), tau, qt.float())
            assert float(single_face) == pytest.approx(value, rel=2e-6, abs=4e-7 / tau), loss


def torch_faces():
    """Function, kernel and definition of every torch loss, of what its options allow."""
    found = {}
    for name in losses.__all__:
        function = getattr(losses, name)
        if not inspect.isfunction(function) or name in (
            "orthonormal_frame",
            "similarity_gradients",
        ):
            continue
        parameters = inspect.signature(function, eval_str=True).parameters
        (module,) = (
            value
            for value in vars(losses).values()
            if isinstance(value, type) and value.__name__.lower() == name.replace("_", "")
        )
        words = {
            option: typing.get_args(parameters[option].annotation)
            for option in ("kernel", "definition")
            if option in parameters
        }
        if name == "icl":  # its annotation is any text
            words["definition"] = ("mmd", "exponential")
        needed = {"anchors": torch.eye(3)} if "anchors" in parameters else {}
        for chosen in itertools.product(*words.values()):
            options = dict(zip(words, chosen, strict=True))
            try:
                module(**options, **needed)
            except cla.ConfigError:
                continue
            found[name, options.get("kernel"), options.get("definition")] = module
    return found


def test_every_loss_has_both_faces_or_names_why_it_has_one():
    """A loss on one side alone fails, as does a module that names other losses than its own."""
    faces = torch_faces()
    reported = {}
    for loss in LOSSES:
        definition = loss.definition or ("consistent" if loss.kernel else None)
        reported[loss.function, loss.kernel, definition] = loss.name
        assert loss.reading
    for name, function in OTHER_LOSSES.items():
        reported[function, None, "mmd" if name == "icl_mmd" else None] = name
    alone = {(function, None, definition) for function, definition in TORCH_ONLY}
    assert set(faces) == set(reported) | alone
    assert not set(reported) & alone
    assert all(TORCH_ONLY.values())
    assert set(READINGS) == {(x.name, x.definition) for x in LOSSES} | {
        (name, None) for name in OTHER_LOSSES
    }
    for module in set(faces.values()):
        own = {reported[face] for face in faces if faces[face] is module and face not in alone}
        assert set(module.saved) == own, module
    u, v, labels = views("clustered")
    found = cla.losses(u, v, as_array(labels), taus=[0.3], queue=u[:5])
    assert {record.params["name"] for record in found if record.metric == "loss"} == {
        *reported.values()
    }


@pytest.mark.parametrize("name", ["clustered", "some unlabelled", "singletons"])
def test_what_stands_beside_the_losses(name):
    u, v, labels = views(name)
    w = naive.Views(u, v, labels)
    names = sorted({str(label) for label in labels if label is not None})
    texts = [None if label is None else str(label) for label in labels]
    frame = np.linalg.qr(np.random.default_rng(1).standard_normal((u.shape[1], u.shape[1])))[0]
    found = cla.losses(
        u,
        v,
        as_array(labels),
        taus=[0.3],
        clop_anchors=5.0 * frame[: len(names)] if len(names) <= len(frame) else None,
        run=RunOptions(unlabelled=""),
    )
    discrepancy = found.find("loss", name="icl_mmd").value
    assert discrepancy == pytest.approx(naive.icl(w), rel=1e-9)
    module = losses.icl(*(torch.tensor(x) for x in (u, v)), codes_of(labels))
    assert float(module) == pytest.approx(naive.icl(w), rel=1e-9)
    module = losses.icl(
        *(torch.tensor(x) for x in (u, v)), codes_of(labels), "exponential", a=0.5, b=2.0
    )
    loops = naive.icl(w, lambda distance: math.exp(0.5 - 2.0 * distance))
    assert float(module) == pytest.approx(loops, rel=1e-7)
    w.labels = texts
    if len(names) <= len(frame):
        value = naive.clop(w, frame, names)
        assert found.find("loss", name="clop").value == pytest.approx(value, rel=1e-9)
        codes = torch.tensor([-1 if text is None else names.index(text) for text in texts])
        module = losses.clop(torch.tensor(u), torch.tensor(v), codes, torch.tensor(frame))
        assert float(module) == pytest.approx(value, rel=1e-9)
    else:
        assert "do not fit" in found.find("loss", name="clop").reason
    gap = found.find("dcl_nscl_gap", tau=0.3).value
    known = naive.Views(u, v, labels)
    keep = [i for i in known.known() if len(names) > 1]
    only = naive.Views(u[keep], v[keep], [labels[i] for i in keep])  # labelled rows alone
    dcl = naive.mean(
        0.5 * sum(naive.lse([*only.within(s, i), *only.across(s, i)], 0.3) for s in ("u", "v"))
        - only.positive[i] / 0.3
        for i in range(only.n)
    )
    assert gap == pytest.approx(dcl - naive.nscl(known, 0.3, "decoupled"), rel=1e-9)
    count = found.find("a_infonce_effective_negatives", tau=0.3)
    assert count.value == pytest.approx(naive.effective_negatives(w, 0.15), rel=1e-9)
    share = found.find("a_infonce_false_negative_share", tau=0.3)
    assert share.value == pytest.approx(naive.false_negative_share(w, 0.15), rel=1e-9)
    for kernel in ("gaussian", "log", "imq", "riesz"):
        for view in (1, 2):
            record = found.find("hyperspherical_energy", kernel=kernel, view=view)
            value = naive.energy(w, "uv"[view - 1], kernel, 2.0)
            assert record.value == pytest.approx(value, rel=1e-9)


# ---- the fixture and closed forms


def fixture():
    def unit(x):
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    i = np.arange(6.0)
    u = unit(np.c_[np.cos(i), np.sin(2 * i), np.cos(3 * i + 1), 0.5 + 0 * i])
    v = unit(u + 0.3 * np.c_[np.sin(i), np.cos(i), np.sin(2 * i), np.cos(2 * i)])
    return u, v, np.array([0, 0, 0, 1, 1, 2])


PUBLISHED = {
    ("contrastive", "one_way"): 0.182601637695,
    ("hard_contrastive", None): 0.171428545791,
    ("simple", None): -1.127643872823,
    ("hard_simple", None): -0.222918751716,
    ("nt_xent", None): 0.315175203574,
    ("dcl", "one_way"): -1.253532870197,
    ("dcl", "symmetric"): -1.121234025984,
    ("dclw", None): -1.250957360358,
    ("dhel", "one_sided"): -2.244874811702,
    ("dhel", "symmetric"): -1.961369492909,
    ("dhel", "official"): 0.724034777777,
    ("kcl_gaussian", None): -0.122336998723,
    ("kcl_log", "consistent"): -25.346563681818,
    ("kcl_log", "official"): -25.098941158078,
    ("kcl_imq", None): 24.104784777429,
    ("kcl_riesz", "consistent"): 3.645126686441,
    ("supcon", "out"): 3.409394448106,
    ("supcon", "in"): 1.398968388367,
    ("nscl", "decoupled"): -1.736460004016,
    ("nscl", "official"): 0.233835729551,
    ("spectral_contrastive", None): -1.691806142946,
    ("vicreg", "as_saved"): 14.245039961143,
    ("vicreg", "normalised"): 14.245039961143,
    ("barlow_twins", "as_saved"): 1.053202357511,
    ("barlow_twins", "normalised"): 1.053202357511,
}
"""Of the fixture at tau 0.2, alpha 0.4, lambda 1; where official code exists, its own output."""


@pytest.mark.parametrize(("loss", "definition"), PUBLISHED)
def test_published_values(loss, definition):
    u, v, labels = fixture()
    found = cla.losses(u, v, labels, taus=[0.2], hard_alpha=0.4, simple_lambda=1.0)
    value = found.find("loss", definition, name=loss).value
    assert value == pytest.approx(PUBLISHED[loss, definition], abs=2e-12)


def test_published_values_of_losses_of_pairs_and_of_dimensions():
    u, v, _ = fixture()
    found = cla.losses(u, v, taus=[0.1])
    assert found.find("loss", name="siglip").value == pytest.approx(1.129312884564, abs=2e-12)
    parts = {
        (metric, name): found.find(metric, name=name).value
        for name in ("vicreg", "barlow_twins")
        for metric in ("loss_alignment", "loss_uniformity")
    }
    assert parts == pytest.approx(
        {
            ("loss_alignment", "vicreg"): 25 * 0.035322623640,
            ("loss_uniformity", "vicreg"): 25 * 0.533884026290 + 0.014873712886,
            ("loss_alignment", "barlow_twins"): 1.049566394829,
            ("loss_uniformity", "barlow_twins"): 5e-3 * 0.727192536235,
        },
        abs=1e-10,
    )


def orthogonal_columns(n):
    """(n, n / 2) of a Hadamard matrix without its first column: mean 0, and uncorrelated."""
    rows = np.ones((1, 1))
    while len(rows) < n:
        rows = np.block([[rows, rows], [rows, -rows]])
    return rows[:, 1 : n // 2 + 1]


def test_closed_forms_of_losses_of_pairs_and_of_dimensions():
    n, tau, bias = 8, 0.1, -5.0
    eye = np.eye(n)
    found = cla.losses(eye, eye, taus=[tau], siglip_bias=bias)
    apart = math.log1p(math.exp(-5.0))  # of the positives at 1 / tau + bias = 5, and of each other
    values = {m: found.find(m, name="siglip").value for m in ("loss_alignment", "loss_uniformity")}
    assert values["loss_alignment"] == pytest.approx(apart, rel=1e-12)
    assert values["loss_uniformity"] == pytest.approx((n - 1) * apart, rel=1e-12)
    assert found.find("loss", name="spectral_contrastive").value == pytest.approx(-2.0, abs=1e-12)
    # all rows equal: every cosine is 1
    ones = np.ones((n, 3))
    found = cla.losses(ones, ones, taus=[tau], siglip_bias=bias)
    assert found.find("loss", name="spectral_contrastive").value == pytest.approx(-1.0, abs=1e-12)
    expected = (n - 1) * math.log1p(math.exp(1 / tau + bias)) + apart
    assert found.find("loss", name="siglip").value == pytest.approx(expected, rel=1e-12)
    assert found.find("loss", "as_saved", name="vicreg").value == pytest.approx(25 * 0.99, abs=1e-9)
    assert found.find("loss", "as_saved", name="barlow_twins").value == pytest.approx(3.0)
    # dimensions that vary by 2 and do not covary: nothing to lose but N - 1 over N
    x = 2.0 * orthogonal_columns(16)
    found = cla.losses(x, x, taus=[tau])
    assert found.find("loss", "as_saved", name="vicreg").value == pytest.approx(0.0, abs=1e-12)
    barlow = found.find("loss", "as_saved", name="barlow_twins").value
    assert barlow == pytest.approx(x.shape[1] / 16**2, abs=1e-12)
    shifted = cla.losses(x + 1e3, x + 1e3, taus=[tau])
    again = shifted.find("loss", "as_saved", name="barlow_twins").value
    assert again == pytest.approx(barlow, rel=1e-9)
    # opposite views: every dimension correlates with -1
    found = cla.losses(x, -x, taus=[tau])
    barlow = found.find("loss", "as_saved", name="barlow_twins").value
    assert barlow == pytest.approx(x.shape[1] * (1 + 15 / 16) ** 2, rel=1e-12)


@pytest.mark.parametrize("definition", ["as_saved", "normalised"])
def test_constant_dimensions_correlate_with_nothing_and_are_told(definition):
    u, v, _ = views("plain")
    u, v = u.copy(), v.copy()
    u[:, 1] = 0.3
    u[:, 2] = v[:, 3] = 0.0
    report = cla.analyze(u, pairs=v, taus=[0.5], metrics="losses")
    value = report.records.find("loss", definition, name="barlow_twins").value
    w = naive.Views(u, v)
    assert value == pytest.approx(naive.barlow_twins(w, definition), rel=1e-9)
    (note,) = (text for text in report.warnings if "constant" in text)
    assert f"2 and 1 of {u.shape[1]} dimensions of the two views are constant" in note
    module = losses.BarlowTwins(definition=definition)
    a, b = (torch.tensor(x, requires_grad=True) for x in (u, v))
    loss = module(a, b)
    loss.backward()
    assert loss.item() == pytest.approx(value, rel=1e-9)
    assert torch.isfinite(a.grad).all()


@pytest.mark.parametrize("shape", [(5_000, 3), (40, 7), (12, 30), (2, 4)])
def test_a_batch_of_all_rows_has_their_value_wherever_blocks_are_computed(shape):
    random = np.random.default_rng(7)
    u = random.standard_normal(shape) @ random.standard_normal((shape[1], shape[1]))
    v = u + random.standard_normal(shape)
    rows = [UnitRows(RowArray.of(x), np.float32, 1 << 30) for x in (u, v)]
    found, squares = saved_dimensions(*rows, SerialExecutor())
    if len(u) > 2_048:  # several units
        with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
            elsewhere, again = saved_dimensions(*rows, FuturesExecutor(pool))
        assert squares.sent.tobytes() == again.sent.tobytes()
        for form in FORMS:
            same = found[form].pseudo_values.tobytes() == elsewhere[form].pseudo_values.tobytes()
            assert same
    units = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (u, v)]
    for form, given in (("as_saved", (u, v)), ("normalised", units)):
        dense = dense_dimensions(*given)
        for name in ("invariance", "variance", "covariance", "on_diagonal", "off_diagonal"):
            one, other = getattr(found[form], name), getattr(dense, name)
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12, err_msg=name)
    s = np.square(units[0] @ units[1].T)
    np.fill_diagonal(s, 0.0)
    np.testing.assert_allclose(squares.sent, s.sum(axis=1), rtol=1e-9)
    np.testing.assert_allclose(squares.received, s.sum(axis=0), rtol=1e-9)


def test_rows_as_saved_and_on_the_sphere():
    u, v, _ = views("clustered")
    found = {scale: cla.losses(scale * u, scale * v, taus=[0.5]) for scale in (1.0, 1e-3, 1e3)}

    def value(scale, definition, name="vicreg"):
        return found[scale].find("loss", definition, name=name).value

    for name in ("vicreg", "barlow_twins"):
        for scale in (1e-3, 1e3):
            one, other = value(scale, "normalised", name), value(1.0, "normalised", name)
            assert one == pytest.approx(other, rel=1e-9)
            of_saved = value(1e3, "as_saved", "barlow_twins")
            assert value(scale, "as_saved", "barlow_twins") == pytest.approx(of_saved, rel=1e-9)
    assert value(1e-3, "as_saved") == pytest.approx(25 * 0.99, abs=1e-2)  # as if collapsed
    assert value(1e3, "as_saved") > 1e6 > value(1.0, "as_saved")


def test_the_order_of_rows_and_of_views_does_not_matter():
    u, v, _ = views("clustered")
    order = np.random.default_rng(2).permutation(len(u))
    given, permuted, swapped = (
        cla.losses(*pair, taus=[0.2]) for pair in ((u, v), (u[order], v[order]), (v, u))
    )
    for name in ("siglip", "spectral_contrastive", "vicreg", "barlow_twins"):
        for definition in FORMS if name in ("vicreg", "barlow_twins") else (None,):
            record = given.find("loss", definition, name=name)
            for other in (permuted, swapped):
                again = other.find("loss", definition, name=name)
                assert again.value == pytest.approx(record.value, rel=1e-9), name
                assert again.std_error == pytest.approx(record.std_error, rel=1e-6), name


@pytest.mark.parametrize("tau", [1e-3, 0.01, 100.0])
@pytest.mark.parametrize("bias", [-1e3, 0.0, 50.0])
def test_siglip_far_from_its_default(tau, bias):
    u, v, _ = views("plain")
    w = naive.Views(u, v)
    for precision, tolerance in (("float64", 1e-12), ("float32", 2e-6)):
        found = cla.losses(u, v, taus=[tau], siglip_bias=bias, run=RunOptions(precision=precision))
        record = found.find("loss", name="siglip")
        expected = naive.siglip(w, tau, bias)
        assert record.value == pytest.approx(expected, rel=max(tolerance, 1e-9 / tau * tolerance))
        module = losses.SigLIP(tau, bias)
        assert float(module(torch.tensor(u), torch.tensor(v))) == pytest.approx(expected, rel=1e-9)


def test_products_out_of_range_are_undefined_with_a_reason():
    u, v, _ = views("plain")
    found = cla.losses(1e160 * u, 1e160 * v, taus=[0.5])
    record = found.find("loss", "as_saved", name="vicreg")
    assert record.value is None
    assert "range of numbers" in record.reason
    of_unit_rows = found.find("loss", "normalised", name="vicreg").value
    assert of_unit_rows == pytest.approx(naive.vicreg(naive.Views(u, v), "normalised"), rel=1e-9)


def test_the_other_direction_is_in_the_symmetric_value():
    u, v, _ = fixture()
    found = cla.losses(u, v, taus=[0.2])
    both = found.find("loss", "symmetric", name="contrastive").value
    assert both == pytest.approx((0.182601637695 + 0.179963219468) / 2, abs=1e-12)
    assert cla.losses(u, v).find("loss", name="simple").value == pytest.approx(
        -0.969012576740, abs=1e-12
    )


def simplex(n):
    rows = np.eye(n) - 1.0 / n
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_minimisers_on_the_simplex():
    x = simplex(16)[:, :]
    tau, n = 0.3, 16
    found = cla.losses(x, x, taus=[tau])
    m = n / ((n - 1) * tau)
    for loss, definition, value in (
        ("contrastive", "one_way", math.log(1 + (n - 1) * math.exp(-m))),
        ("nt_xent", None, math.log(1 + 2 * (n - 1) * math.exp(-m))),
        ("dcl", "symmetric", math.log(2 * (n - 1)) - m),
        ("dhel", "symmetric", math.log(n - 1) - m),
        ("dhel", "official", 2 * math.log(n - 1) - 1 / tau - 2 / ((n - 1) * tau)),
        ("kcl_gaussian", None, -2 + 32 * math.exp(-4 * n / (n - 1))),
    ):
        assert found.find("loss", definition, name=loss).value == pytest.approx(value, abs=1e-9)
    assert found.find("loss", name="kcl_gaussian").value == pytest.approx(-1.5510890605, abs=1e-9)
    for kernel in ("gaussian", "log", "imq", "riesz"):
        energy = found.find("hyperspherical_energy", kernel=kernel, view=1).value
        least = found.find("hyperspherical_energy_reference", kernel=kernel)
        assert least.definition == "simplex"
        assert energy == pytest.approx(least.value, rel=1e-9)


def test_minimisers_on_the_cross_polytope():
    x = np.vstack([np.eye(3), -np.eye(3)])
    found = cla.losses(x, x, taus=[1.0], kcl_gamma=1.0)
    assert found.find("loss", name="kcl_gaussian").value == pytest.approx(-1.9705607927, abs=1e-9)
    least = found.find("hyperspherical_energy_reference", kernel="gaussian")
    assert least.definition == "cross_polytope"
    assert least.value == pytest.approx(0.0147196036, abs=1e-10)
    for kernel in ("gaussian", "log", "imq", "riesz"):
        energy = found.find("hyperspherical_energy", kernel=kernel, view=2).value
        least = found.find("hyperspherical_energy_reference", kernel=kernel).value
        assert energy == pytest.approx(least, rel=1e-9)


@pytest.mark.parametrize("kernel", ["gaussian", "log", "imq", "riesz"])
@pytest.mark.parametrize("d", [4, 24])
def test_energies_of_the_uniform_law(kernel, d):
    from cl_analyze.metrics.losses.energy import energy_reference

    name, value = energy_reference(kernel, 1.3, 1000, d)
    law = stats.beta((d - 1) / 2, (d - 1) / 2, loc=-1, scale=2)
    grid = law.ppf((np.arange(50_000) + 0.5) / 50_000)
    expected = np.mean([naive.kernel(kernel, 2 - 2 * s, 1.3) for s in grid])
    assert name == "uniform_law"
    assert value == pytest.approx(expected, rel=2e-3)


def test_riesz_energy_of_the_uniform_law_can_be_infinite():
    random = np.random.default_rng(0)
    u = random.standard_normal((30, 2))
    found = cla.losses(u, u + 0.1 * random.standard_normal((30, 2)), taus=[0.5])
    record = found.find("hyperspherical_energy_reference", kernel="riesz")
    assert record.value is None
    assert "D - 1 = 1" in record.reason


def test_supcon_at_collapsed_classes_on_a_simplex():
    classes, members, tau = 4, 3, 0.1  # six copies of each with both views
    x = np.repeat(simplex(classes), members, axis=0)
    labels = np.repeat(np.arange(classes), members)
    value = cla.losses(x, x, labels, taus=[tau]).find("loss", "out", name="supcon").value
    n, m = classes * 2 * members, 2 * members
    expected = math.log((m - 1) + (n - m) * math.exp(-classes / ((classes - 1) * tau)))
    assert value == pytest.approx(expected, abs=1e-9)
    assert expected == pytest.approx(1.6094437430, abs=1e-9)


def test_limits_of_small_and_large_temperatures():
    u, v, _ = views("plain")
    n = len(u)
    small, large = 1e-4, 1e4
    found = cla.analyze(u, pairs=v, taus=[small, 0.3, large], metrics="losses")
    triplet = found.records.find("loss", name="triplet_limit").value
    simple = found.records.find("loss", name="simple").value
    at_small = found.records.find("loss", "one_way", name="contrastive", tau=small).value
    assert triplet <= small * at_small <= triplet + small * math.log(n)
    at_large = found.records.find("loss", "one_way", name="contrastive", tau=large).value
    assert large * (at_large - math.log(n)) == pytest.approx((n - 1) / n * simple, abs=1e-4)
    rows = {row["tau"]: row for row in found.tables["loss_limits"].rows}
    assert rows[small]["small_tau"] == pytest.approx(triplet / small)
    assert rows[large]["large_tau"] == pytest.approx(at_large, abs=1e-8)
    hard = found.records.find("loss", name="hard_contrastive", tau=large).value
    hard_simple = found.records.find("loss", name="hard_simple").value
    k = math.ceil(0.1 * (n - 1) - 1e-9)
    assert large * (hard - math.log(1 + k)) == pytest.approx(k / (1 + k) * hard_simple, abs=1e-4)


def test_order_of_related_losses():
    u, v, labels = views("clustered")
    found = cla.losses(u, v, as_array(labels), taus=[0.2])

    def value(name, definition=None):
        return found.find("loss", definition, name=name).value

    assert value("hard_contrastive") <= value("contrastive", "one_way")
    assert value("contrastive", "one_way") <= value("nt_xent")
    assert value("supcon", "in") <= value("supcon", "out")
    pull = found.find("loss_alignment", "symmetric", name="dhel").value
    assert value("dhel", "official") == pytest.approx(
        2 * value("dhel", "symmetric") - pull, abs=1e-9
    )
    all_kept = cla.losses(u, v, taus=[0.2], hard_alpha=1.0)
    assert all_kept.find("loss", name="hard_contrastive").value == pytest.approx(
        value("contrastive", "one_way"), abs=1e-12
    )
    gap = found.find("dcl_nscl_gap", tau=0.2)
    bound = found.find("dcl_nscl_gap_bound", tau=0.2)
    assert 0 <= gap.value <= bound.value
    assert bound.value == pytest.approx(math.log1p(10 * math.exp(2 / 0.2) / 30))


def test_gaussian_kernel_loss_is_made_of_uniformities():
    u, v, _ = views("plain")
    found = cla.losses(u, v, kcl_t=2.0, kcl_gamma=16.0)
    parts = [math.exp(cla.uniformity(x, t=2.0).value) for x in (u, v)]
    spread = found.find("loss_uniformity", name="kcl_gaussian").value
    assert spread == pytest.approx(16 * sum(parts), rel=1e-9)


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_kernel_losses_do_not_depend_on_the_batch_and_infonce_does(size):
    u, v, _ = fixture()
    x, y = torch.tensor(u), torch.tensor(v)
    batches = [list(rows) for rows in itertools.combinations(range(6), size)]
    for kernel in ("gaussian", "log", "imq", "riesz"):
        whole = float(losses.kcl(x, y, kernel))
        mean = np.mean([float(losses.kcl(x[b], y[b], kernel)) for b in batches])
        assert mean == pytest.approx(whole, rel=1e-9)
    mean = np.mean([float(losses.spectral_contrastive(x[b], y[b])) for b in batches])
    assert mean == pytest.approx(float(losses.spectral_contrastive(x, y)), rel=1e-9)
    expected = {2: 0.0376, 3: 0.0746, 4: 0.1112, 5: 0.1471}
    mean = np.mean([float(losses.contrastive(x[b], y[b], 0.2)) for b in batches])
    assert mean == pytest.approx(expected[size], abs=5e-5)


def test_expectations_over_batches():
    random = np.random.default_rng(5)
    u = random.standard_normal((400, 8))
    v = u + 0.5 * random.standard_normal(u.shape)
    labels = np.arange(400) % 4
    report = cla.analyze(
        u, labels, v, taus=[0.2, 0.5], metrics="losses", batch_sizes=[16, 100], kcl_gamma=1.0
    )
    rng = np.random.default_rng(6)
    drawn = [rng.choice(400, 16, replace=False) for _ in range(1500)]
    x, y, c = torch.tensor(u), torch.tensor(v), torch.tensor(labels)
    for name, definition, function in (
        ("contrastive", "one_way", lambda b: losses.contrastive(x[b], y[b], 0.2)),
        ("dcl", "symmetric", lambda b: losses.dcl(x[b], y[b], 0.2)),
        ("nscl", "decoupled", lambda b: losses.nscl(x[b], y[b], c[b], 0.2)),
        ("supcon", "out", lambda b: losses.supcon(x[b], y[b], c[b], 0.2)),
        ("hard_contrastive", None, lambda b: losses.hard_contrastive(x[b], y[b], 0.2, 0.1)),
        ("siglip", None, lambda b: losses.siglip(x[b], y[b], 0.2)),
        ("kcl_gaussian", None, lambda b: losses.kcl(x[b], y[b], gamma=1.0)),
        ("spectral_contrastive", None, lambda b: losses.spectral_contrastive(x[b], y[b])),
        ("vicreg", "as_saved", lambda b: losses.vicreg(x[b], y[b])),
        ("vicreg", "normalised", lambda b: losses.vicreg(x[b], y[b], definition="normalised")),
        ("barlow_twins", "as_saved", lambda b: losses.barlow_twins(x[b], y[b])),
    ):
        has_tau = any(one.name == name and "tau" in one.params for one in LOSSES)
        params = {"tau": 0.2} if has_tau else {}
        record = report.records.find("loss", definition, name=name, batch_size=16, **params)
        values = np.array([float(function(b)) for b in drawn])
        error = math.hypot(record.sampling_error, values.std() / math.sqrt(len(drawn)))
        assert abs(record.value - values.mean()) < 4 * error, name
        assert record.sampling_error == pytest.approx(values.std() / math.sqrt(400), rel=0.25)
        assert not record.exact
    rows = report.document.rows("loss_batch", name="kcl_gaussian", batch_size=16)
    whole = report.records.find("loss", name="kcl_gaussian").value
    assert rows[0]["limit"] == pytest.approx(whole)
    assert rows[0]["converged"] is True
    near = report.document.rows("loss_batch", name="contrastive", definition="one_way", tau=0.2)
    assert [row["converged"] for row in near] == [False, False]
    assert near[0]["normalised"] == pytest.approx(near[0]["loss"] - math.log(15))
    with pytest.raises(cla.ConfigError, match=r"--batch-size 201: .* at most 200"):
        cla.losses(u, v, batch_sizes=[201])


def test_infonce_of_uniform_points_and_its_limit():
    # E log(e^(1/tau) + sum of K) - log K: the limit of large K is far from practical K
    from cl_analyze.metrics.uniform_law import log_0f1

    d, tau, n = 8, 0.5, 3000
    random = np.random.default_rng(11)
    x = random.standard_normal((n, d))
    record = cla.losses(x, x, taus=[tau]).find("loss", "one_way", name="contrastive")
    limit = -1 / tau + log_0f1(d / 2, 1 / (4 * tau * tau))
    assert limit == pytest.approx(-1.75592524, abs=1e-8)
    expected = -1 / tau + np.logaddexp(1 / tau - math.log(n - 1), log_0f1(d / 2, 1.0))
    assert record.value - math.log(n - 1) == pytest.approx(expected, abs=0.01)


# ---- gradients


@pytest.mark.parametrize("tau", [0.01, 0.07, 0.3, 1.0, 10.0])
def test_gradients_with_respect_to_similarities(tau):
    generator = torch.Generator().manual_seed(1)
    s = torch.rand(5, 257, generator=generator, dtype=torch.float64) * 2 - 1
    s.requires_grad_(True)
    for loss, alpha in (("contrastive", 1.0), ("hard_contrastive", 0.1)):
        k = max(1, math.ceil(alpha * 256 - 1e-9))
        kept = s[:, 1:].topk(k, dim=1).values
        value = torch.logsumexp(torch.cat([s[:, :1], kept], 1) / tau, 1) - s[:, 0] / tau
        (gradient,) = torch.autograd.grad(value.sum(), s)
        found = losses.similarity_gradients(
            s[:, 0].detach(), s[:, 1:].detach(), tau, loss, alpha=alpha
        )
        torch.testing.assert_close(found.positive, gradient[:, 0], rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(found.negatives, gradient[:, 1:], rtol=1e-11, atol=1e-11)
        pushes = found.negatives.sum(1)
        torch.testing.assert_close(pushes, -found.positive, rtol=4e-12, atol=1e-300)
        torch.testing.assert_close(
            found.relative_penalty * pushes[:, None], found.negatives, rtol=1e-9, atol=1e-300
        )
        torch.testing.assert_close(
            found.relative_penalty.sum(1), torch.ones(5, dtype=torch.float64)
        )
    for loss, alpha in (("simple", 1.0), ("hard_simple", 0.1)):
        found = losses.similarity_gradients(
            s[:, 0].detach(), s[:, 1:].detach(), tau, loss, alpha=alpha
        )
        assert (found.positive == -1).all()
        torch.testing.assert_close(found.negatives.sum(1), torch.ones(5, dtype=torch.float64))


def test_ties_at_the_threshold_of_hard_negatives():
    negatives = torch.tensor([[0.9, 0.5, 0.5, 0.5, 0.1]])
    found = losses.similarity_gradients(
        torch.tensor([0.0]), negatives, 1.0, "hard_contrastive", alpha=0.4
    )
    assert (found.relative_penalty > 0).tolist() == [[True, True, False, False, False]]


def test_pulls_equal_pushes_in_the_table_and_shares_sum_to_one():
    u, v, labels = views("clustered")
    report = cla.analyze(u, as_array(labels), v, taus=[0.1, 0.5], metrics="losses")
    s = naive.Views(u, v, labels)
    for row in report.tables["loss_gradient_totals"].rows:
        # the official DHEL adds the logarithms of both views
        factor = 2.0 if (row["name"], row["definition"]) == ("dhel", "official") else 1.0
        assert factor * row["positive"] == pytest.approx(row["negatives"], rel=1e-9), row
        if (row["name"], row["definition"]) == ("contrastive", "one_way"):
            tau = row["tau"]
            pull = naive.mean(
                (
                    1
                    - math.exp(
                        s.positive[i] / tau - naive.lse([s.positive[i], *s.across("u", i)], tau)
                    )
                )
                / tau
                for i in range(s.n)
            )
            assert row["positive"] == pytest.approx(pull, rel=1e-9)
    table = report.tables["loss_gradient"].rows
    kinds = {(row["name"], row["definition"], row["tau"]) for row in table}
    assert len(kinds) == 5 * 2 + 5
    for name, definition, tau in kinds:
        rows = [
            r for r in table if (r["name"], r["definition"], r["tau"]) == (name, definition, tau)
        ]
        assert sum(row["gradient_share"] for row in rows) == pytest.approx(1.0, abs=1e-9)
        assert sum(row["negative_fraction"] for row in rows) == pytest.approx(1.0, abs=1e-9)
    # one bin of one loss, by loops
    tau = 0.1
    weights = np.zeros(50)
    for i in range(s.n):
        near = sorted(s.across("u", i), reverse=True)[: math.ceil(0.1 * (s.n - 1) - 1e-9)]
        norm = naive.lse(near, tau)
        for value in near:
            weights[min(int((value + 1) * 25), 49)] += math.exp(value / tau - norm) / s.n
    for row in table:
        if (row["name"], row["tau"]) == ("hard_contrastive", tau):
            at = round((row["similarity"] + 1) * 25 - 0.5)
            assert row["gradient_share"] == pytest.approx(weights[at], abs=1e-9)


# ---- truncated penalty curves


@pytest.mark.parametrize("tau", [0.05, 0.5])
def test_truncated_penalty_curves_by_loops(tau):
    rows, _ = cases()["clustered"]
    report = cla.analyze(
        rows, taus=[0.2, tau], metrics="penalty", penalty_alpha=0.2, run=RunOptions(block=16)
    )
    table = [row for row in report.tables["penalty_curve_hard"].rows if row["tau"] == tau]
    w = naive.Views(rows, rows)
    n = len(rows)
    k = math.ceil(0.2 * (n - 1) - 1e-9)
    kept = [sorted(w.within("u", i), reverse=True)[:k] for i in range(n)]
    for row in table[::9]:
        s = row["similarity"]
        expected = naive.mean(
            math.exp(s / tau - naive.lse(near, tau)) if s >= near[-1] else 0.0 for near in kept
        )
        assert row["relative_penalty"] == pytest.approx(expected, rel=1e-9, abs=1e-300)
        assert row["hard_alpha"] == 0.2
        assert row["exact"]
    mass = math.fsum(row["penalty_mass"] for row in table if row["similarity"] > 0.5)
    expected = naive.mean(
        math.fsum(math.exp(s / tau - naive.lse(near, tau)) for s in near if s >= 0.5)
        for near in kept
    )
    assert mass == pytest.approx(expected, abs=1e-9)
    assert math.fsum(row["penalty_mass"] for row in table) == pytest.approx(1.0, abs=1e-9)


def test_ties_at_the_threshold_share_what_is_kept():
    # every negative ties: each has an equal part of the kept mass
    report = cla.analyze(np.eye(11), taus=[0.1], metrics="penalty", penalty_alpha=0.3)
    table = report.tables["penalty_curve_hard"].rows
    assert sum(row["penalty_mass"] for row in table) == pytest.approx(1.0)
    at_zero = [row for row in table if abs(row["similarity"]) < 0.006]
    assert sum(row["penalty_mass"] for row in at_zero) == pytest.approx(1.0)
    record = cla.losses(np.eye(11), np.eye(11), taus=[0.1], hard_alpha=0.3)
    expected = math.log1p(3 * math.exp(-1 / 0.1))
    assert record.find("loss", name="hard_contrastive").value == pytest.approx(expected, rel=1e-9)


# ---- faults that a review found


def two_views_of_classes(n=90, d=6, seed=4):
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    u = 0.05 * random.standard_normal((n, d)) + np.eye(3, d)[labels]
    return u, u + 0.01 * random.standard_normal((n, d)), labels


@pytest.mark.parametrize("tau", [0.001, 0.01])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_small_temperatures_with_far_other_classes(tau, precision):
    # other classes lie so far under a row's own that a shared shift loses them
    u, v, labels = two_views_of_classes()
    report = cla.analyze(
        u, labels, v, taus=[tau], metrics="losses", run=RunOptions(precision=precision, block=40)
    )
    w = naive.Views(u, v, list(labels))
    for definition in ("decoupled", "official"):
        value = report.records.find("loss", definition, name="nscl").value
        expected = naive.nscl(w, tau, definition)
        assert value == pytest.approx(expected, rel=1e-9 if precision == "float64" else 2e-5)
    rows = report.document.rows("loss_gradient", name="nscl")
    assert math.fsum(row["gradient_share"] for row in rows) == pytest.approx(1.0, abs=1e-4)


def test_no_row_is_labelled():
    u, v, _ = two_views_of_classes()
    report = cla.analyze(u, np.array([""] * len(u)), v, taus=[0.5], metrics="losses")
    assert "losses that need classes are left out" in " ".join(report.warnings)
    assert report.records.find("loss", "one_way", name="contrastive").value > 0
    assert not [r for r in report.records if r.params.get("name") in ("supcon", "nscl", "clop")]


@pytest.mark.parametrize("t", [1e-3, 78.0, 1000.0])
def test_extreme_kernel_parameters(t):
    u, v, _ = views("plain")
    found = cla.losses(u, v, taus=[0.5], kcl_t=t)
    w = naive.Views(u, v)
    for kernel in ("gaussian", "log", "imq"):
        record = found.find("hyperspherical_energy", kernel=kernel, view=1)
        assert record.value == pytest.approx(naive.energy(w, "u", kernel, t), rel=1e-9, abs=1e-300)
    for record in found:
        assert (record.value is None) == (record.reason is not None)
        assert record.std_error is None or math.isfinite(record.std_error)


def test_riesz_losses_where_rows_nearly_and_wholly_coincide():
    u, v, _ = views("plain")
    near = u.copy()
    near[1] = near[0] * (1 + 1e-12) + 1e-5 * np.eye(len(u), u.shape[1])[0]
    w = naive.Views(near, v)
    expected = naive.kcl(w, "riesz", 2.0, 16.0, aligned_by=("gaussian", 2.0))
    found = cla.losses(near, v, taus=[0.5]).find("loss", "gaussian_riesz", name="kcl_riesz")
    assert found.value == pytest.approx(expected, rel=1e-7)
    module = losses.kcl(torch.tensor(near), torch.tensor(v), "riesz", definition="gaussian_riesz")
    assert float(module) == pytest.approx(expected, rel=1e-7)
    equal = u.copy()
    equal[1] = equal[0]
    assert math.isinf(losses.kcl(torch.tensor(equal), torch.tensor(v), "riesz").item())
    report = cla.analyze(equal, pairs=v, taus=[0.5], metrics="losses", batch_sizes=[15])
    for size in ({}, {"batch_size": 15}):
        record = report.records.find("loss", "gaussian_riesz", name="kcl_riesz", **size)
        assert record.value is None
        assert "infinite" in record.reason


def test_unlabelled_rows_are_no_false_negatives():
    u, v, _ = views("plain")
    labels = np.array([str(i) if i < 20 else "" for i in range(len(u))])
    found = cla.losses(u, v, labels, taus=[0.2])
    assert found.find("dcl_nscl_gap").value == pytest.approx(0.0, abs=1e-12)


def test_groups_reach_every_error():
    u, v, labels = two_views_of_classes()
    one_group = np.zeros(len(u), dtype=int)
    found = cla.losses(u, v, labels, taus=[0.3], groups=one_group)
    for record in found:
        fixed = record.metric in ("hyperspherical_energy_reference", "dcl_nscl_gap_bound")
        assert record.std_error in (None, 0.0) if fixed else record.std_error is None, record


ODD = {
    "two pairs": lambda u, v, y: {"embeddings": u[:2], "pairs": v[:2], "labels": y[:2]},
    "three pairs": lambda u, v, y: {"embeddings": u[:3], "pairs": v[:3], "labels": y[:3]},
    "one dimension": lambda u, v, y: {"embeddings": u[:, :1], "pairs": v[:, :1], "labels": y},
    "all rows equal": lambda u, v, y: {"embeddings": u * 0 + 1, "pairs": v * 0 + 1, "labels": y},
    "equal views": lambda u, v, y: {"embeddings": u, "pairs": u, "labels": y},
    "collapsed": lambda u, v, y: {"embeddings": 1 + 1e-7 * u, "pairs": 1 + 1e-7 * v, "labels": y},
    "one class": lambda u, v, y: {"embeddings": u, "pairs": v, "labels": y * 0},
    "singletons": lambda u, v, y: {"embeddings": u, "pairs": v, "labels": np.arange(len(u))},
    "few anchors": lambda u, v, y: {"embeddings": u, "pairs": v, "labels": y, "anchors": 10},
    "steep kernels": lambda u, v, y: {"embeddings": u, "pairs": v, "labels": y, "kcl_t": 1e5},
    "flat kernels": lambda u, v, y: {"embeddings": u, "pairs": v, "labels": y, "kcl_t": 1e-5},
    "no weight": lambda u, v, y: {"embeddings": u, "pairs": v, "labels": y, "simple_lambda": 0},
    "all kept": lambda u, v, y: {
        "embeddings": u,
        "pairs": v,
        "hard_alpha": 1.0,
        "curve_anchors": 1,
    },
}


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", ODD)
def test_odd_inputs_give_numbers_or_reasons(name, precision):
    from cl_analyze.figures import catalogue
    from cl_analyze.results.tables import to_json

    random = np.random.default_rng(0)
    u = random.standard_normal((30, 5))
    v = u + 0.2 * random.standard_normal(u.shape)
    given = ODD[name](u, v, np.arange(30) % 3)
    report = cla.analyze(
        metrics="losses", taus=[0.001, 0.07, 1e4], run=RunOptions(precision=precision), **given
    )
    for record in report.records:
        assert (record.value is None) == (record.reason is not None)
    to_json(report.document.to_dict())  # refuses NaN and infinity
    catalogue.draw(report.document)


def test_gradient_totals_are_those_of_the_rows_that_take_part():
    u, v, labels = two_views_of_classes(30)
    some = np.where(np.arange(30) < 18, labels.astype(str), "")
    report = cla.analyze(u, some, v, taus=[0.5], metrics="losses")
    (row,) = report.document.rows("loss_gradient_totals", name="nscl", definition="official")
    alone = cla.analyze(u[:18], some[:18], v[:18], taus=[0.5], metrics="losses")
    (expected,) = alone.document.rows("loss_gradient_totals", name="nscl", definition="official")
    assert row["positive"] == pytest.approx(expected["positive"], rel=1e-9)
    assert row["negatives"] == pytest.approx(expected["negatives"], rel=1e-9)


@pytest.mark.parametrize("exponent", [-660, 600])
def test_correlations_of_dimensions_have_no_scale(exponent):
    """Of saved rows and of batches, where squares of the entries leave float64."""
    random = np.random.default_rng(3)
    u = random.standard_normal((60, 5))
    v = u + 0.3 * random.standard_normal((60, 5))

    def of_scale(scale):
        records = cla.losses(u * scale, v * scale, taus=[0.5], batch_sizes=[8])
        return {
            (record.definition, record.params.get("batch_size")): record
            for record in records
            if record.metric == "loss" and record.params["name"] == "barlow_twins"
        }

    expected, found = of_scale(1.0), of_scale(2.0**exponent)
    assert len(expected) == len(found) >= 2
    for key, record in expected.items():
        assert found[key].value == pytest.approx(record.value, rel=1e-9), key
        if record.std_error is not None:
            assert found[key].std_error == pytest.approx(record.std_error, rel=1e-6), key
    collapsed = cla.losses(u * 1e-200, v * 1e-200, taus=[0.5])
    assert collapsed.find("loss", "as_saved", name="vicreg").value == pytest.approx(24.75)
