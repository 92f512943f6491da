"""ROS 2 nodes around crossover_models: convert, call, publish."""

from pkgutil import extend_path

# rosidl installs the generated msg and srv packages beside this file; a source tree on PYTHONPATH has only ours.
__path__ = extend_path(__path__, __name__)
