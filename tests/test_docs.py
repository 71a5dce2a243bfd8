"""What the documentation shows is what happens."""

from __future__ import annotations

import doctest
import importlib.util
import inspect
import re
import subprocess
import sys

import pytest

import cl_analyze as cla
from tests.conftest import ROOT, keeps_numbers

sys.path.append(str(ROOT / "docs"))
import console_blocks
import python_blocks
from pages import pages, pages_with

PAGES = pages()

WITH_DOCTESTS = [
    path.stem
    for path in sorted((ROOT / "docs").glob("*.py"))
    if re.search(r"^ *>>> ", path.read_text(encoding="utf-8"), re.M)
]


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", pages_with("python"), ids=lambda page: page.name)
def test_python_blocks_of_a_page_run(tmp_path, page):
    """In the order of the page, in one folder; what they save can be measured."""
    for block, needs in python_blocks.blocks(page.read_text(encoding="utf-8")):
        if not needs:
            python_blocks.run(block, tmp_path)
    can_be_read(tmp_path)


def can_be_read(folder):
    """`inspect` has nothing against the embeddings in a folder."""
    for path in sorted((*folder.rglob("*.npz"), *folder.rglob("*.safetensors"))):
        command = [sys.executable, "-m", "cl_analyze", "inspect", path.relative_to(folder)]
        subprocess.run(command, check=True, cwd=folder, capture_output=True)


@pytest.mark.parametrize(
    ("block", "needs"),
    [
        pytest.param(block, needs, id="-".join((page.stem, *needs)))
        for page in pages_with("python")
        for block, needs in python_blocks.blocks(page.read_text(encoding="utf-8"))
        if needs
    ],
)
def test_python_blocks_that_need_more_run_where_it_is_installed(tmp_path, block, needs):
    for package in needs:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    python_blocks.run(block, tmp_path)
    can_be_read(tmp_path)


def test_a_block_says_what_it_needs():
    text = """
```python
# needs: timm open_clip
import timm
```

```python
print(1)  # needs: nothing
```

```py
not run
```
"""
    assert list(python_blocks.blocks(text)) == [
        ("# needs: timm open_clip\nimport timm\n", ("timm", "open_clip")),
        ("print(1)  # needs: nothing\n", ()),
    ]


def test_a_block_that_fails_stops_the_test(tmp_path):
    with pytest.raises(SystemExit, match="ZeroDivisionError"):
        python_blocks.run("1 / 0", tmp_path)


def test_the_notebook_shows_what_it_keeps():
    import nbformat
    from nbclient import NotebookClient

    def shown(notebook):
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        return [
            (
                sorted(output.get("data", {})),
                output.get("text"),
                output.get("data", {}).get("text/plain"),
            )
            for output in outputs
        ]

    kept = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    assert all(cell.get("outputs") for cell in kept.cells if cell.cell_type == "code")
    run = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    NotebookClient(run, resources={"metadata": {"path": str(ROOT / "docs")}}).execute()
    assert shown(run) == shown(kept)


@keeps_numbers
@pytest.mark.parametrize("page", pages_with("console"), ids=lambda page: page.name)
def test_console_blocks_print_what_they_show(page):
    text = page.read_text(encoding="utf-8")
    for command, shown in console_blocks.blocks(text):
        assert shown == console_blocks.refreshed(shown, console_blocks.output_of(command)), (
            "python docs/make_reference.py refreshes the page"
        )


@pytest.mark.parametrize(
    ("shown", "now"),
    [
        (["old"], ["a  2", "b  2", "c  2", "c  3", "d  2"]),
        (["a  1", "..."], ["a  2", "..."]),
        (["...", "c  1", "d  1"], ["...", "c  3", "d  2"]),
        (["...", "c  3", "...", "d  2"], ["...", "c  3", "d  2"]),
        (["a  1", "...", "gone  1", "...", "d  1"], ["a  2", "...", "d  2"]),
        (["...", "c  3", "..."], ["...", "c  3", "..."]),
        (["a  2", "b  2", "...", "d  2"], ["a  2", "b  2", "...", "d  2"]),
    ],
)
def test_a_console_block_keeps_the_lines_that_it_showed(shown, now):
    printed = ["a  2", "b  2", "c  2", "c  3", "d  2"]
    assert console_blocks.refreshed(shown, printed) == now


def test_the_guides_gate_judges_as_it_says(tmp_path):
    page = ROOT / "docs" / "guide.md"
    (rules, _) = blocks(page, "toml")
    (tmp_path / "cl-analyze.toml").write_text(rules)
    commands = [line for block in blocks(page, "sh") for line in block.splitlines()]
    judged = [line for line in commands if line.startswith("cl-analyze check")]
    assert len(judged) == 3
    for line in judged:
        command, _, verdict = line.partition("#")
        arguments = command.split()[1:]
        arguments = [str(ROOT / a) if a.startswith("sample_data/") else a for a in arguments]
        result = subprocess.run(
            [sys.executable, "-m", "cl_analyze", *arguments], cwd=tmp_path, capture_output=True,
            check=False,
        )  # fmt: skip
        assert result.returncode == int(verdict.split(":")[0]), result.stderr


def test_the_guides_defaults_are_what_it_says(tmp_path):
    from cl_analyze.options.defaults import defaults_for
    from cl_analyze.project_file import read_project_file

    (rules, defaults) = blocks(ROOT / "docs" / "guide.md", "toml")
    path = tmp_path / "cl-analyze.toml"
    path.write_text(rules + defaults)
    found = {
        d.option.flag: (d.value, d.table) for d in defaults_for("report", read_project_file(path))
    }
    assert found["--format"] == (["png", "pdf"], "defaults.report")
    assert found["--tau"] == (["0.07", "0.2", "0.5"], "defaults")
    assert {"--k", "--out", "--threads"} < found.keys()


def test_commands_named_in_the_readme_exist():
    text = (ROOT / "README.md").read_text()
    listed = set(re.findall(r"`cl-analyze ([a-z]+)", text))
    result = subprocess.run(
        [sys.executable, "-m", "cl_analyze", "--help"], check=True, capture_output=True, text=True
    )
    before_options = result.stdout.partition("\nOptions:")[0]
    commands = set(re.findall(r"^  ([a-z]+)  +[A-Z]", before_options, re.M))
    assert listed == commands


def anchors(page):
    """The anchors of headings as a code host makes them: `## It's alive!` has `its-alive`."""
    text = re.sub(r"^(```+).*?^\1$", "", page.read_text(), flags=re.M | re.S)
    found = []
    for heading in re.findall(r"^#+ (.+)$", text, re.M):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        anchor = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        n_before = len([each for each in found if re.fullmatch(rf"{anchor}(-\d+)?", each)])
        found.append(f"{anchor}-{n_before}" if n_before else anchor)
    return found


def links(page):
    """Path and anchor of every link of a page to a file, or to a place in the page."""
    text = re.sub(r"^(```+)(?!\{).*?^\1$", "", page.read_text(), flags=re.M | re.S)
    text = re.sub(r"`[^`\n]+`", "", text)
    targets = re.findall(r"\]\(([^)\s]+)\)|\b(?:href|src|srcset)=\"([^\"\s]+)\"", text)
    for target in map("".join, targets):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield page if not path else page.parent / path, anchor


def test_anchors_are_those_of_code_hosts(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# What's `new`?\n## 5. Choose\n```sh\n# no heading\n```\n## 5. Choose\n")
    assert anchors(page) == ["whats-new", "5-choose", "5-choose-1"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for path, anchor in links(page):
        if "/sample/" in str(path):  # made while the site is built
            assert page.name == "index.md"
            continue
        assert path.exists(), f"{page.name}: {path}"
        assert not anchor or anchor in anchors(path), f"{page.name}: {path}#{anchor}"


def test_the_site_lists_every_page():
    index = ROOT / "docs" / "index.md"
    lists = "".join(blocks(index, r"\{toctree\}"))
    words = re.findall(r"^(?:.*<)?([\w./-]+?)>?$", lists, re.M)
    listed = {(ROOT / "docs" / f"{word}.md").resolve() for word in words}
    assert listed == {page for page in PAGES if page not in (index, ROOT / "README.md")}


def test_the_api_pages_name_everything_that_is_public():
    import cl_analyze.losses
    import cl_analyze.training

    for module in (cla, cl_analyze.losses, cl_analyze.training):
        text = (ROOT / "docs" / "api" / f"{module.__name__.rpartition('.')[2]}.md").read_text()
        named = re.findall(rf"^\.\. auto\w+:: {module.__name__}\.(?:api\.)?(\w+)$", text, re.M)
        assert sorted(named) == sorted(set(module.__all__) - {"__version__"})


def test_docstrings_keep_their_signs_in_the_site():
    pytest.importorskip("sphinx")
    lines = ["log of |x|^2, see `a *` and labels_", "", ">>> 2 * 3", "6*"]
    parts = importlib.import_module("docs.site_parts")
    assert parts.without_markup(lines) == [
        r"log of \|x\|^2, see `a *` and labels\_", "", ">>> 2 * 3", "6*",
    ]  # fmt: skip


@pytest.mark.parametrize("name", WITH_DOCTESTS)
def test_examples_of_the_scripts_of_the_docs_are_true(name):
    if name == "site_parts":
        pytest.importorskip("sphinx")
    failed, attempted = doctest.testmod(importlib.import_module(name))
    assert failed == 0
    assert attempted > 0


def test_the_metric_reference_names_every_metric_and_definition():
    from cl_analyze.metrics import BETWEEN, DECLARED, METRICS

    pages = ("metrics.md", "quality.md", "compare.md")
    text = "".join((ROOT / "docs" / page).read_text() for page in pages)
    families = [*METRICS.values(), *BETWEEN.values()]
    assert set(DECLARED) == {metric for family in families for metric in family.definitions}
    assert all(metric.sentence for metric in DECLARED.values())
    for family in families:
        for metric, definitions in family.definitions.items():
            for name in (metric, *definitions):
                assert f"`{name}`" in text, name
    from cl_analyze.metrics.losses.catalogue import LOSSES

    for loss in LOSSES:
        assert f"`{loss.name}`" in text, loss.name


def test_the_changelog_names_the_version():
    import cl_analyze

    assert f"## {cl_analyze.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def public():
    """Public classes, their methods, and functions, by name."""
    for module in (
        cla,
        *map(importlib.import_module, ("cl_analyze.losses", "cl_analyze.training")),
    ):
        for name in module.__all__:
            item = getattr(module, name)
            if isinstance(item, type) and issubclass(item, Exception):
                continue
            if isinstance(item, type) or inspect.isfunction(item):
                yield f"{module.__name__}.{name}", item
            if isinstance(item, type) and module is cla:
                for method, function in vars(item).items():
                    if inspect.isfunction(function) and not method.startswith("_"):
                        yield f"{name}.{method}", function


def test_every_public_function_has_an_executed_example():
    names = dict(public())
    assert len(names) > 50
    without = [name for name, item in names.items() if ">>>" not in (item.__doc__ or "")]
    assert without == [], "write an example in the docstring, which the doctests run"
