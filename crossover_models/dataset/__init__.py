"""Scenes to learn from and to be measured in: one record for simulated rooms and for the published data sets."""
