"""Geometric localizers beside ours: what each of them does with the same odometry, lidar and plans."""
