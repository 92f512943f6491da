"""Draw docs/architecture.svg, the data's way through the house: ``python docs/make_architecture_picture.py``."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

STAGES = (
    ("sensor message", "Image, PointCloud2,\nLaserScan, Odometry, TF", "ros"),
    ("observation", "conversions.py\nframe and stamp checked", "ros"),
    ("local cloud, wall slice", "accumulation.py\ngravity-aligned", "core"),
    ("embedding", "perception.py, encoders/\n1D, 2D, 3D, unit norm", "core"),
    ("retrieval", "retrieval.py\nFAISS, by level and modality", "core"),
    ("registration", "registration/\nlikelihood field, B&amp;B search", "core"),
    ("belief", 'belief.py, localizer.py\nposes, levels, "none of these"', "core"),
    ("result", "localizer_node.py\ntopics, TF, services", "ros"),
)
FILL = {"ros": "#dbe9f6", "core": "#e4f2df", "disk": "#f6ecd2"}
WIDTH, HEIGHT, GAP, LEFT, TOP = 196, 84, 34, 20, 40


def box(x: int, y: int, title: str, body: str, kind: str) -> list[str]:
    """A titled rectangle."""
    lines = [
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="8" fill="{FILL[kind]}" stroke="#445"/>',
        f'<text x="{x + WIDTH / 2}" y="{y + 24}" class="title">{title}</text>',
    ]
    for k, line in enumerate(body.split("\n")):
        lines.append(f'<text x="{x + WIDTH / 2}" y="{y + 46 + 18 * k}">{line.replace(chr(34), "&quot;")}</text>')
    return lines


def arrow(x0: float, y0: float, x1: float, y1: float) -> str:
    """A line with a head."""
    return f'<line x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}" stroke="#445" stroke-width="2" marker-end="url(#head)"/>'


def draw() -> str:
    """The whole picture."""
    out: list[str] = []
    spots = []
    for k, (title, body, kind) in enumerate(STAGES):
        row, col = divmod(k, 4)
        col = col if row == 0 else 3 - col
        x, y = LEFT + col * (WIDTH + GAP), TOP + row * (HEIGHT + 60)
        spots.append((x, y, row))
        out += box(x, y, title, body, kind)
    for (x0, y0, r0), (x1, y1, r1) in pairwise(spots):
        middle = y0 + HEIGHT / 2
        if r0 != r1:
            out.append(arrow(x0 + WIDTH / 2, y0 + HEIGHT, x1 + WIDTH / 2, y1 - 4))
        elif x1 > x0:
            out.append(arrow(x0 + WIDTH, middle, x1 - 4, middle))
        else:
            out.append(arrow(x0, middle, x1 + WIDTH + 4, middle))
    y = TOP + 2 * (HEIGHT + 60)
    x_sources, x_map = LEFT + (WIDTH + GAP), LEFT + 3 * (WIDTH + GAP)
    out += box(x_sources, y, "building", "IFC, RMF drawing,\nprocedural", "disk")
    out += box(x_sources + WIDTH + GAP, y, "crossover map build", "same encoders,\none vector a modality", "core")
    out += box(x_map, y, "map database", ".xmap: SQLite; plans, places,\nembeddings, meshes", "disk")
    out.append(arrow(x_sources + WIDTH, y + HEIGHT / 2, x_sources + WIDTH + GAP - 4, y + HEIGHT / 2))
    out.append(arrow(x_map - GAP, y + HEIGHT / 2, x_map - 4, y + HEIGHT / 2))
    out.append(arrow(x_map + WIDTH / 2, y, x_map + WIDTH / 2, y - 56))
    legend = "blue: crossover_ros (thin)   green: crossover_models (no ROS)   yellow: on disk"
    out.append(f'<text x="{LEFT}" y="24" style="text-anchor:start">{legend}</text>')
    width, height = 2 * LEFT + 4 * WIDTH + 3 * GAP, y + HEIGHT + 20
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        "<style>text{font:13px sans-serif;text-anchor:middle;fill:#223}.title{font-weight:bold;font-size:15px}</style>"
        '<defs><marker id="head" markerWidth="8" markerHeight="8" refX="6" refY="4" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#445"/></marker></defs>'
        f'<rect width="{width}" height="{height}" fill="white"/>'
    )
    return "\n".join([head, *out, "</svg>\n"])


if __name__ == "__main__":
    Path(__file__).with_name("architecture.svg").write_text(draw(), encoding="utf-8")
