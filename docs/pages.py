"""Pages of the documentation, and those that have blocks of a language."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def pages() -> list[Path]:
    """Markdown pages of the project that users read."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("sample_data/*.md")])


def pages_with(language: str) -> list[Path]:
    """Pages with a fenced block of a language, such as `python`."""
    fence = f"\n```{language}\n"
    return [page for page in pages() if fence in page.read_text(encoding="utf-8")]
