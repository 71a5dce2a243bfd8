"""The pictures of README.md and docs/: all there, and made by functions that do what they say."""

from __future__ import annotations

import io
import re
import sys

import numpy as np
import pytest
from PIL import Image

import cl_analyze as cla
from cl_analyze.figures.catalogue import FIGURES, SECTIONS
from cl_analyze.report.sentences import hubs_in_words
from tests.conftest import ROOT

sys.path.append(str(ROOT / "docs"))
import make_pictures
import sick_encoders as sick

READING = ROOT / "docs" / "reading-the-report.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PART_OF_ANOTHER = {"tolerance": "uniformity", "penalty_mass": "loss_gradient"}
"""Figure -> the one that has it as a panel where both are measured, and is described with it."""


def shown(page):
    """(alternative text, file) of each picture of a page; a `source` of a `picture` has none."""
    text = page.read_text(encoding="utf-8")
    for alt, path in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", text):
        yield alt, page.parent / path
    for tag in re.findall(r"<(?:img|source)\b[^>]*>", text):
        (path,) = re.findall(r'\bsrc(?:set)?="([^"\s]+)', tag)
        alt = re.findall(r'\balt="([^"]*)"', tag)
        yield (alt[0] if alt else "") if tag.startswith("<img") else None, page.parent / path


def test_every_figure_is_described_under_the_heading_of_its_section():
    text = READING.read_text(encoding="utf-8")
    parts = re.split(r"^## (.+)$", text, flags=re.M)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    for title, figures in SECTIONS.items():
        for name in figures:
            assert f"`{name}`" in sections[title], (title, name)


def test_every_figure_has_a_picture_that_the_script_makes():
    made = [name for reading in make_pictures.readings() for name in reading.figures]
    assert sorted(made) == sorted(FIGURES.keys() - PART_OF_ANOTHER.keys())
    text = READING.read_text(encoding="utf-8")
    assert [name for name in made if f"(pictures/{name}.png)" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pictures_exist_and_have_alternative_texts(page):
    for alt, path in shown(page):
        assert path.is_file(), path
        assert alt is None or len(alt.split()) > 1, path


def test_the_folder_has_what_the_script_makes_and_nothing_else():
    of_pages = {name for reading in make_pictures.readings() for name in reading.figures}
    of_readme = {
        f"{name}-{theme}" for name in make_pictures.COMMANDS for theme in ("light", "dark")
    }
    assert {path.name for path in make_pictures.FOLDER.iterdir()} == {
        f"{name}.png" for name in of_pages | of_readme
    }


def test_some_page_shows_each_picture():
    used = {path.resolve() for page in PAGES for _, path in shown(page)}
    assert {path.resolve() for path in make_pictures.FOLDER.iterdir()} - used == set()


def test_pictures_are_small():
    sizes = {path.name: path.stat().st_size for path in make_pictures.FOLDER.glob("*.png")}
    assert max(sizes.values()) < 200_000
    assert sum(sizes.values()) < 2_500_000


def test_few_colours_are_nearly_the_same_colours():
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    pixels = np.stack([np.tile(ramp, (8, 1)), np.tile(ramp[::-1], (8, 1)), np.zeros((8, 64))], 2)
    image = Image.fromarray(pixels.astype(np.uint8))
    few = Image.open(io.BytesIO(make_pictures.of_few_colours(image, 32)))
    assert few.mode == "P"
    assert len(few.getcolors()) <= 32
    moved = np.abs(np.asarray(few.convert("RGB")).astype(int) - pixels)
    assert 0 < moved.max() < 16


def test_images_stand_side_by_side_on_white():
    narrow, tall = Image.new("RGB", (2, 3), "red"), Image.new("RGB", (4, 5), "blue")
    whole = make_pictures.side_by_side([narrow, tall])
    assert whole.size == (6, 5)
    assert [whole.getpixel(at) for at in ((1, 2), (1, 3), (2, 4))] == [
        (255, 0, 0),
        (255, 255, 255),
        (0, 0, 255),
    ]


def test_a_figure_of_two_encoders_is_drawn_together_or_apart(tmp_path):
    arrays = {name: array[:64] for name, array in sick.sample("0.2").items()}
    both = {"healthy": arrays, "cone": sick.cone(arrays)}
    options = {"metrics": ["uniformity"]}
    widths = []
    for is_apart in (False, True):
        reading = make_pictures.Reading(("uniformity",), both, options, is_apart)
        found = make_pictures.documents(reading, tmp_path)
        assert len(found) == 1 + is_apart
        widths.append(make_pictures.figure_picture("uniformity", found).width)
    assert widths[1] == 2 * widths[0]


def test_files_are_the_same_every_time(tmp_path):
    arrays = sick.few_directions(sick.sample("0.2"))
    again = sick.few_directions(sick.sample("0.2"))
    one, two = sick.save(arrays, tmp_path / "a.npz"), sick.save(again, tmp_path / "b.npz")
    assert one.read_bytes() == two.read_bytes()
    with np.load(one) as file:
        assert set(file) == set(arrays)


@pytest.fixture(scope="module")
def healthy():
    return sick.sample("0.2")


def verdict(arrays):
    return cla.analyze(arrays["embeddings"], metrics="quality", projection="none")


@pytest.mark.parametrize(
    ("make", "level", "words"),
    [
        (dict, "none", "No dimensional collapse"),
        (sick.few_directions, "dimensional", "uses 2 of 64"),
        (sick.cone, "none", "rows lie in a cone"),
        (sick.point, "complete", "Complete collapse"),
    ],
)
def test_the_tool_finds_the_defect_of_the_space(healthy, make, level, words):
    (row,) = verdict(make(healthy)).tables["collapse"].rows
    assert row["verdict"] == level
    assert words in row["text"]


def test_the_tool_finds_hubs_and_copies(healthy):
    def skewness(arrays):
        return verdict(arrays).records.find("hubness_skewness", k=10).value

    assert hubs_in_words(skewness(healthy)) == "no hubs to speak of"
    assert hubs_in_words(skewness(sick.hubs(healthy))) == "strong hubs"
    copied = sick.copies(healthy)
    assert verdict(copied).records.find("near_duplicate_share").value > 0.3
    assert np.array_equal(copied["ids"], healthy["ids"])


def test_partners_are_mixed_up_or_moved_as_said(healthy):
    mixed = sick.partners_mixed_up(healthy)["view2"]
    assert (mixed != healthy["view2"]).any(1).mean() == pytest.approx(0.3)
    apart = sick.views_apart(healthy)
    assert np.array_equal(apart["view1"], healthy["view1"])
    assert (apart["view2"][:, 0] > healthy["view2"][:, 0]).all()


def test_only_the_rows_of_one_class_are_moved(healthy):
    merged = sick.two_classes_merged(healthy)
    is_moved = (merged["embeddings"] != healthy["embeddings"]).any(1)
    assert np.array_equal(is_moved, healthy["labels"] == sick.MERGED[0])
    names = [str(healthy["class_names"][label]) for label in sick.MERGED]
    assert names == ["Sandal", "Bag"]

    def mean_of(arrays, label):
        return arrays["embeddings"][arrays["labels"] == label].mean(0)

    before, after = (mean_of(arrays, sick.MERGED[0]) for arrays in (healthy, merged))
    there = mean_of(healthy, sick.MERGED[1])
    assert np.linalg.norm(after - there) < 0.2 * np.linalg.norm(before - there)
