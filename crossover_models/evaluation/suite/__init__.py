"""Every task of the paper, for every method, on the same scans: figures, intervals, tables, pictures, a page."""
