"""Names of checkpoints in the output."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cl_analyze.data.opening import Spec, real_path
from cl_analyze.data.remote import is_url
from cl_analyze.errors import ConfigError
from cl_analyze.options import Request
from cl_analyze.quoting import printable, without_secrets


def source_names(requests: Sequence[Request]) -> list[str]:
    """Names of the sources of requests.  A variant's name is that of its original, NAME[variant].

    A source without a name is named by the shortest suffix of its path that is unique, and ::KEY
    if the request has one.

    Raises:
        ConfigError: two requests name the same array, or two sources would have one name.
    """
    specs = [
        Spec.parse(str(request.embeddings))
        if isinstance(request.embeddings, str | Path)
        else Spec(request.source or "embeddings")
        for request in requests
    ]
    seen: dict[tuple[str, str | None, str], str] = {}
    for request, spec in zip(requests, specs, strict=True):
        path = spec.path if is_url(spec.path) else str(real_path(spec.path))
        place = (path, spec.key, request.variant)
        if place in seen:
            raise ConfigError(f"{seen[place]} and {spec} are the same; name each checkpoint once")
        seen[place] = str(spec)
    names: list[str] = []
    original = ""
    for request, spec in zip(requests, specs, strict=True):
        if request.variant:  # its original stands before it
            names.append(f"{original}[{request.variant}]")
            continue
        if request.source is not None:
            original = without_secrets(printable(request.source))
            names.append(original)
            continue
        parts = Path(spec.path).parts
        suffix = spec.path
        for length in range(1, len(parts) + 1):
            suffix = str(Path(*parts[-length:]))
            same_suffix = {
                s.path for s in specs if Path(*Path(s.path).parts[-length:]) == Path(suffix)
            }
            if len(same_suffix) == 1:
                break
        if is_url(spec.path):  # the query may contain a signature
            suffix = suffix.partition("?")[0]
        title = suffix if spec.key is None else f"{suffix}::{spec.key}"
        title = without_secrets(printable(title))
        n_same = names.count(title)
        original = title if not n_same else f"{title} ({n_same + 1})"
        names.append(original)
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError(
            f"two checkpoints would be called {twice[0]}: one of them is a variant of another; "
            "give one of the files another name"
        )
    return names


def originals_of(requests: Sequence[Request], names: Sequence[str]) -> list[str]:
    """For each request the name of the checkpoint whose variant it is; of others their own name."""
    originals: list[str] = []
    for request, name in zip(requests, names, strict=True):
        originals.append(originals[-1] if request.variant else name)
    return originals
