"""The HTML of a report, with a ``$name`` for each part that :mod:`report` fills in."""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<link rel="icon" href="data:,">
<style>
$style
.badge { display: inline-block; background: #fde68a; color: #713f12; border-radius: 999px; padding: 2px 12px;
  font-size: 0.82rem; font-weight: 600; margin-right: 8px; }
.verdict { font-size: 1.08rem; margin: 10px 0 18px; max-width: 90ch; }
.headlines { display: grid; grid-template-columns: repeat(auto-fit, minmax(138px, 1fr)); gap: 10px;
  margin-bottom: 20px; }
.headline { background: white; border: 1px solid var(--line); border-radius: 10px; padding: 10px 12px; display: flex;
  flex-direction: column; }
.headline .name, .headline .note { color: var(--quiet); font-size: 0.8rem; }
.headline .value { font-size: 1.5rem; font-weight: 650; line-height: 1.25; color: var(--good);
  font-variant-numeric: tabular-nums; }
.headline.bad .value { color: var(--bad); }
.cards { columns: 480px 2; column-gap: 16px; }
.cards .card { break-inside: avoid; margin-bottom: 16px; }
.plot { display: block; width: 100%; height: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
th { text-align: left; color: var(--quiet); font-weight: 500; font-size: 0.8rem; }
th, td { padding: 5px 10px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.events { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 500px), 1fr)); gap: 0 24px; }
.event { min-width: 0; border-left: 4px solid #e69f00; padding: 2px 0 2px 12px; margin: 0 0 18px; }
.event.bad { border-color: var(--bad); }
.event p { font-size: 0.9rem; margin: 0 0 6px; overflow-wrap: anywhere; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(118px, 1fr)); gap: 8px; }
.pictures figure { margin: 0; }
.pictures img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: var(--line);
  border-radius: 6px; }
.pictures figcaption { font-size: 0.78rem; line-height: 1.3; margin-top: 2px; }
summary { cursor: pointer; padding: 6px 0; font-weight: 600; }
@media (max-width: 640px) {
  .headlines { grid-template-columns: 1fr 1fr; }
  thead { display: none; }
  tr { display: block; padding: 8px 0; border-bottom: 1px solid var(--line); }
  td { display: grid; grid-template-columns: 6.5rem 1fr; border: 0; padding: 1px 0; }
  td::before { content: attr(data-label); color: var(--quiet); font-size: 0.8rem; }
  td:empty { display: none; }
  dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: 8px; }
}
@media print { body { background: white; } .card, .headline { break-inside: avoid; } }
</style>
</head>
<body>
<main>
<header>
<h1>$title</h1>
<p>$badge<span class="quiet">$origin</span></p>
<p class="verdict">$verdict</p>
</header>
<section class="headlines">$headlines</section>
<section class="cards">$plots
<div class="card"><h2>Relocalize on request</h2>$relocalize</div>
<div class="card"><h2>Announced poses</h2>$fixes</div>
<div class="card"><h2>Retrieval by modality</h2>$modalities</div>
<div class="card"><h2>The run</h2><dl>$facts</dl></div>
</section>
<section class="card"><h2>False fixes and abstentions</h2>
<p class="quiet">Each with what the robot had before its eyes when it began: the camera frame, the cloud of the last
metres, and the plan where it was believed to be and where it was.</p>$events</section>
<section class="card"><h2>Every figure of report.json</h2>
<table class="metrics"><thead><tr><th>key</th><th>value</th><th>unit</th><th>meaning</th></tr></thead>
<tbody>$metrics</tbody></table></section>
</main>
<script type="application/json" id="figures">$json</script>
</body>
</html>
"""
