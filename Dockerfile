# crossover_ros on a ROS 2 image. Not built by CI, and not built yet by those who wrote it: tell us what is missing.
#   docker build -t crossover_ros .
#   docker run --rm --network host --ipc host -v $PWD:/maps crossover_ros database:=/maps/office.xmap points_topic:=/lidar/points
ARG ROS_DISTRO=jazzy
FROM ros:${ROS_DISTRO}-ros-base

# No -u: setup.bash of ROS reads variables that nobody set.
SHELL ["/bin/bash", "-eo", "pipefail", "-c"]
RUN apt-get update && apt-get install -y --no-install-recommends python3-colcon-common-extensions python3-pip python3-venv && rm -rf /var/lib/apt/lists/*

WORKDIR /workspace/src/crossover_ros
COPY package.xml pyproject.toml constraints.txt ./
COPY scripts/requirements.py scripts/requirements.py

# Python packages of PyPI live in an environment that sees ROS: distributions refuse pip outside of one.
ENV VIRTUAL_ENV=/opt/crossover PATH=/opt/crossover/bin:$PATH
RUN apt-get update && rosdep update --rosdistro "${ROS_DISTRO}" && rosdep install -y --ignore-src --from-paths . \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv --system-site-packages "$VIRTUAL_ENV" && touch "$VIRTUAL_ENV/COLCON_IGNORE" \
    && python3 scripts/requirements.py cpu > /tmp/requirements.txt \
    && pip install --no-cache-dir -c constraints.txt "$(grep '^torch==' /tmp/requirements.txt)" \
    && pip install --no-cache-dir -c constraints.txt -r /tmp/requirements.txt

COPY . .
WORKDIR /workspace
# The nodes start as `env python3`, which is the environment's; their interfaces are compiled for the same one.
RUN source "/opt/ros/${ROS_DISTRO}/setup.bash" \
    && colcon build --packages-select crossover_ros --cmake-args "-DPython3_EXECUTABLE=$VIRTUAL_ENV/bin/python3"

RUN printf '#!/bin/bash\nset -e\nsource /workspace/install/setup.bash\nexec ros2 launch crossover_ros localize.launch.py "$@"\n' \
    > /entrypoint.sh && chmod +x /entrypoint.sh
ENTRYPOINT ["/entrypoint.sh"]
