"""The known-building benchmark: any localizer given as a command, on simulated runs through mapped buildings."""
