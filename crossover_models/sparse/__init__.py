"""Sparse tensors and convolutions with MinkowskiEngine's semantics."""
