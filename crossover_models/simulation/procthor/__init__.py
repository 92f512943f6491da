"""ProcTHOR's single rooms (Apache-2.0, Allen Institute for AI), read from a folder of the user's."""

from crossover_models.simulation.procthor.rooms import ProcThorRooms

__all__ = ["ProcThorRooms"]
