"""Faults on purpose: what the nodes do when sensors, transforms, files and processes misbehave (simulated sensors)."""
