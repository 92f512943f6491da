"""One setting for the threads of everything that computes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from threading import Thread

from ros_graph import House, graph
from threadpoolctl import threadpool_info, threadpool_limits

SHOW = """
import json, sys
import numpy
from crossover_models.threads import use_threads
use_threads(int(sys.argv[1]))
import cv2, faiss, scipy.linalg, torch
from threadpoolctl import threadpool_info
blas = {i["filepath"]: i["num_threads"] for i in threadpool_info() if i["user_api"] == "blas"}
print(json.dumps([sorted(set(blas.values())), len(blas), torch.get_num_threads(), cv2.getNumThreads()]))
"""


def _shown(count: int) -> list[object]:
    free = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")} | {"OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", SHOW, str(count)], env=free, capture_output=True, text=True, check=True
    )
    shown: list[object] = json.loads(done.stdout)
    return shown


def test_all_libraries_take_the_number_also_those_loaded_later() -> None:
    for count in (1, 2):
        (threads, libraries, torch_threads, cv_threads) = _shown(count)
        assert (threads, torch_threads, cv_threads) == ([count], count, count)
        assert isinstance(libraries, int) and libraries >= 2


def test_nodes_keep_to_their_parameter(house: Path) -> None:
    """Whatever was set before: both nodes compute on one thread by default."""
    # By a thread that has ended: threadpoolctl lets only one thread that lives set the number.
    before = Thread(target=threadpool_limits, args=(2, "blas"))
    before.start()
    before.join()
    with graph(lambda: House(str(house))) as nodes:
        nodes.start()
        # Libraries on OpenMP keep a number for each thread that calls them, and this is not the nodes' thread.
        shared = [i for i in threadpool_info() if i["user_api"] == "blas" and i["threading_layer"] == "pthreads"]
        assert shared and {i["num_threads"] for i in shared} == {1}
