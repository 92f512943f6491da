"""How many threads compute in this process."""

from __future__ import annotations

import os


def use_threads(count: int) -> None:
    """Let PyTorch, OpenCV and the BLAS of NumPy, SciPy and FAISS compute on so many threads each, in this process.

    PyTorch's alone is not enough: OpenBLAS shares out even small products, and its threads wait by spinning, which took
    up to half a core from the encoders. Processes started from here inherit the setting.
    """
    import cv2
    import torch
    from threadpoolctl import threadpool_limits

    # Libraries that are loaded later read these.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(count)
    threadpool_limits(count, user_api="blas")
    torch.set_num_threads(count)
    cv2.setNumThreads(count)
