"""Sparse tensors and convolutions with MinkowskiEngine's semantics."""

from crossover_models.sparse.backend import SparseBackend, TorchBackend, backend
from crossover_models.sparse.tensor import SparseError, SparseTensor

__all__ = ["SparseBackend", "SparseError", "SparseTensor", "TorchBackend", "backend"]
