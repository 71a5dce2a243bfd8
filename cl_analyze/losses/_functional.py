"""The function of a loss: `dhel = functional("dhel", DHEL)` is derived from the module alone."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Any, ParamSpec, Protocol

from torch import Tensor

from cl_analyze.losses._batch import PairLoss

P = ParamSpec("P")
_VIEWS = "u, v: (M, D) embeddings of two views; they need not be normalised."
_LABELS = "labels: (M,) integers, the classes of the pairs."


class LossFunction(Protocol[P]):
    """A loss of two views, followed by the parameters of the module."""

    __name__: str

    def __call__(self, u: Tensor, v: Tensor, *args: P.args, **options: P.kwargs) -> Tensor:
        """The loss of a batch."""
        ...


class ClassLossFunction(Protocol[P]):
    """A loss of two views and the classes of the pairs, followed by the same."""

    __name__: str

    def __call__(
        self, u: Tensor, v: Tensor, labels: Tensor, *args: P.args, **options: P.kwargs
    ) -> Tensor:
        """The loss of a batch."""
        ...


def functional(name: str, module: Callable[P, PairLoss]) -> LossFunction[P]:
    """The function of a module: it takes (u, v), then the module's parameters, with gather=False.

    Signature, types and docstring of the function come from the module.

    Args:
        name: of the function, under which the caller keeps it.
        module: the class.
    """
    function: LossFunction[P] = _function(name, module, {"u": _VIEWS, "v": ""})
    return function


def class_functional(name: str, module: Callable[P, PairLoss]) -> ClassLossFunction[P]:
    """The same for a module that needs labels: the function takes (u, v, labels) first."""
    inputs = {"u": _VIEWS, "v": "", "labels": _LABELS}
    function: ClassLossFunction[P] = _function(name, module, inputs)
    return function


def _function(name: str, module: Any, inputs: dict[str, str]) -> Any:
    """The function; `inputs` has the first parameters and their lines of docstring."""
    either = Parameter.POSITIONAL_OR_KEYWORD
    options = dict(inspect.signature(module, eval_str=True).parameters)
    options["gather"] = options["gather"].replace(default=False)
    tensors = [Parameter(tensor, either, annotation=Tensor) for tensor in inputs]
    signature = inspect.Signature([*tensors, *options.values()], return_annotation=Tensor)

    def function(*args: Any, **named: Any) -> Tensor:
        bound = signature.bind(*args, **named)
        bound.apply_defaults()
        batch = [bound.arguments.pop(tensor) for tensor in inputs]
        loss: Tensor = module(**bound.arguments)(*batch)
        return loss

    function.__name__ = function.__qualname__ = name
    function.__module__ = module.__module__
    function.__signature__ = signature  # type: ignore[attr-defined]
    function.__annotations__ = {
        **{key: parameter.annotation for key, parameter in signature.parameters.items()},
        "return": Tensor,
    }
    described = "".join(f"    {line}\n" for line in inputs.values() if line)
    function.__doc__ = (inspect.getdoc(module) or "").replace("Args:\n", f"Args:\n{described}", 1)
    return function
