"""CrossOver scene encoders, multi-modal map database and floor-plan localization; numpy and torch, no ROS."""

__version__ = "0.1.0"
