"""Environment of every test: one thread, and a ROS domain that stays on this machine and apart from other runs."""

import os
import signal

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
# 1 to 101 are the domains whose ports lie below Linux's ephemeral ones.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 101)
# A test run in the background is started with SIGINT ignored, and so would be every process under test.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
