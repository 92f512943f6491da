"""A map of buildings from any source: importers, the database on disk, and its pictures."""
