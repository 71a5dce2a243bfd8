"""PyTorch tensors, of a file or in memory, as arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cl_analyze.data.rows import BFLOAT16, RowArray
from cl_analyze.errors import DataError

_EXPANDED = 64 << 20
"""Bytes up to which a tensor of a file may repeat its values, as `expand` does."""


def tensor_array(tensor: Any, in_memory: bool) -> RowArray:
    """The values of a tensor, which are copied only where they lie on a device.

    Args:
        tensor: the tensor.
        in_memory: whether the user passed it; else a file holds it.

    Raises:
        DataError: nested, quantised, sparse, without values, of a dtype that NumPy lacks, or of a
            file and expanded; with the remedy.
    """
    import torch

    remedy = "pass z" if in_memory else "save tensor"
    if tensor.is_nested:
        raise DataError(f"nested tensors are not supported: {remedy}.to_padded_tensor(0)")
    plain = tensor.detach()
    if plain.is_quantized:
        raise DataError(f"quantised tensors are not supported: {remedy}.dequantize()")
    if plain.layout != torch.strided:
        raise DataError(f"sparse tensors are not supported: {remedy}.to_dense()")
    if plain.is_meta:
        raise DataError("a tensor without values (of the device meta)")
    size, stored = math.prod(plain.shape) * plain.element_size(), plain.untyped_storage().nbytes()
    if not in_memory and size > max(stored, _EXPANDED):
        raise DataError(f"a tensor of {size} bytes of which {stored} are stored: {remedy}.clone()")
    try:
        plain = plain.cpu().as_subclass(torch.Tensor).detach()
        if plain.dtype == torch.bfloat16:
            return RowArray.of(plain.view(torch.int16).numpy().view(np.uint16), BFLOAT16)
        return RowArray.of(plain.resolve_conj().resolve_neg().numpy())
    except (TypeError, RuntimeError) as error:
        raise DataError(f"{plain.dtype} has no NumPy equivalent: {remedy}.float()") from error
