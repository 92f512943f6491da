"""The style sheet that the report of a run and the live page share."""

CSS = """:root { --ink: #1f2933; --quiet: #616e7c; --line: #e4e7eb; --paper: #f5f7fa; --good: #0072b2; --bad: #c2410c; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 20px 16px 48px; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.02rem; margin: 0 0 8px; }
h3 { font-size: 0.95rem; margin: 0 0 2px; }
p { margin: 0 0 10px; }
code { font: 0.88em ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.quiet, figcaption { color: var(--quiet); font-size: 0.88rem; }
.card { background: white; border: 1px solid var(--line); border-radius: 10px; padding: 14px 16px; margin: 0 0 16px;
  min-width: 0; }
.number { font-variant-numeric: tabular-nums; font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 16px; margin: 0; font-size: 0.9rem; }
dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 640px) {
  main { padding: 14px 10px 32px; }
  .card { padding: 12px; }
}
"""
