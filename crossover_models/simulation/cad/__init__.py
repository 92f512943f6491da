"""Furniture models behind one interface: Sweet Home 3D's catalogs where they are installed, else parametric ones."""

from crossover_models.simulation.cad.library import FittedModel, FurnitureLibrary, open_library

__all__ = ["FittedModel", "FurnitureLibrary", "open_library"]
