"""The live page: HTML, style and script in one, which asks nobody but its own server."""

from __future__ import annotations

import json
from string import Template

from crossover_models.page_style import CSS
from crossover_models.palette import NOWHERE, OTHER_POSES, PLACE_COLORS, STATE_COLORS

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Where is the robot?</title>
<link rel="icon" href="data:,">
<style>
$css
.badge { display: inline-block; color: white; background: #52606d; border-radius: 999px; padding: 2px 14px;
  font-weight: 600; margin-right: 8px; }
.badge.LOCALIZED { background: $right; }
.badge.INITIALIZING { background: #8a5a00; }
.badge.LOST { background: #a3417c; }
.badge.silent { background: var(--bad); }
header { margin-bottom: 16px; }
.said { font-size: 1.08rem; margin: 8px 0 0; min-height: 1.5em; overflow-wrap: anywhere; }
.columns { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 0 16px; align-items: start; }
.columns > div { min-width: 0; }
.shot { display: block; width: 100%; border-radius: 6px; background: var(--line); }
.plan { max-height: 72vh; object-fit: contain; background: none; }
.empty { display: grid; place-items: center; min-height: 120px; color: var(--quiet); background: var(--line);
  border-radius: 6px; text-align: center; padding: 12px; }
.spoken { position: absolute; width: 1px; height: 1px; margin: 0; overflow: hidden; clip-path: inset(50%); }
[hidden] { display: none !important; }
.bars { list-style: none; margin: 0 0 12px; padding: 0; }
.bars li { display: grid; grid-template-columns: 1fr 3.6em; gap: 0 8px; padding: 2px 0; font-size: 0.92rem; }
.bars .name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.bars .bar { grid-column: 1 / 3; height: 8px; background: var(--line); border-radius: 4px; overflow: hidden; }
.bars .bar i { display: block; height: 100%; }
.bars .number { text-align: right; }
.chart { display: block; width: 100%; height: 130px; background: var(--paper); border-radius: 4px; }
.chart.low { height: 70px; }
.ends { display: flex; justify-content: space-between; }
.matches { display: grid; grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); gap: 10px; list-style: none;
  margin: 0 0 14px; padding: 0; }
.matches img, .matches .blank { display: block; width: 100%; aspect-ratio: 1; object-fit: cover;
  border-radius: 6px; background: var(--line); }
.matches b { display: block; font-size: 0.85rem; line-height: 1.25; margin-top: 4px; overflow-wrap: anywhere; }
h3 { margin-top: 4px; }
.tall dl { grid-template-columns: max-content 1fr; }
@media (max-width: 860px) { .columns { grid-template-columns: minmax(0, 1fr); } .plan { max-height: none; } }
</style>
</head>
<body>
<main>
<header>
<h1>Where is the robot?</h1>
<p class="said"><span id="state" class="badge">waiting</span>
<span id="where">No localizer has been heard yet.</span></p>
<p id="why" class="quiet"></p>
<p id="told" class="spoken" role="status" aria-live="polite"></p>
</header>
<div class="columns">
<div>
<section class="card" aria-labelledby="h-plan"><h2 id="h-plan">Floor plan</h2>
<img id="plan" class="shot plan" alt="" hidden>
<div id="no-plan" class="empty">The plan comes with the first estimate.</div>
<p class="quiet" style="margin:8px 0 0"><b style="color:$right">Blue</b>: the best pose and where it has been.
<b style="color:#8a5a00">Amber</b>: what else it may be. <b style="color:#007a59">Green</b>: walls just seen.</p>
</section>
<section class="card" aria-labelledby="h-belief"><h2 id="h-belief">Belief</h2>
<ul id="bars" class="bars"></ul>
<svg id="shares" class="chart" role="img" aria-label="Belief over time" viewBox="0 0 600 100"
  preserveAspectRatio="none"></svg>
<div class="ends quiet"><span id="from"></span><span>share of each place over time</span><span>now</span></div>
</section>
<section class="card" aria-labelledby="h-latency"><h2 id="h-latency">Latency</h2>
<p><span id="latency" class="number">-</span> <span id="latency-note" class="quiet"></span></p>
<svg id="latencies" class="chart low" role="img" aria-label="Latency over time" viewBox="0 0 600 100"
  preserveAspectRatio="none"></svg>
</section>
</div>
<div>
<section class="card" aria-labelledby="h-camera"><h2 id="h-camera">Camera</h2>
<img id="frame" class="shot" alt="what the robot sees" hidden>
<div id="no-frame" class="empty"><span>No picture has come on the topic <code>image</code>.</span></div>
</section>
<section class="card" aria-labelledby="h-places"><h2 id="h-places">Places that look like this</h2>
<div id="places"><p class="quiet">Nothing has been looked up yet.</p></div>
</section>
<section class="card tall" aria-labelledby="h-nodes"><h2 id="h-nodes">Nodes and data</h2><dl id="nodes"></dl></section>
</div>
</div>
</main>
<script>
"use strict";
const COLORS = $colors, OTHER = "$other", NOWHERE = "$nowhere", KEPT = 600, QUIET_MS = 3000;
const STATES = { UNINITIALIZED: "not started", INITIALIZING: "searching", LOCALIZED: "localized", LOST: "lost" };
const by = (id) => document.getElementById(id);
const percent = (share) => share === null ? "-" : (100 * share).toFixed(share < 0.1 ? 1 : 0) + " %";
const colorOf = new Map();
let past = [], heard = 0, latest = null, told = "", shown = { plan: 0, frame: 0 };

function element(tag, properties, ...children) {
  const out = Object.assign(document.createElement(tag), properties);
  out.append(...children);
  return out;
}

function color(name) {
  if (!colorOf.has(name)) colorOf.set(name, colorOf.size < COLORS.length ? COLORS[colorOf.size] : OTHER);
  return colorOf.get(name);
}

/* The next picture is asked for when the one before has come, so that a slow link shows fewer and not older ones. */
const loading = new Set();
function refresh(id, url, version) {
  if (!version || version === shown[id] || loading.has(id)) return;
  loading.add(id);
  shown[id] = version;
  const next = new Image();
  next.onload = () => {
    by(id).src = next.src;
    by(id).hidden = false;
    by("no-" + id).hidden = true;
    loading.delete(id);
    if (latest) refresh(id, url, latest.versions[id]);
  };
  next.onerror = () => loading.delete(id);
  next.src = url + "?v=" + version;
}

function showEstimate(e) {
  by("state").textContent = STATES[e.state] || e.state;
  by("state").className = "badge " + e.state;
  let where = "The robot does not know where it is.";
  if (e.state === "LOCALIZED") {
    where = e.place + ", " + e.level + ": " + percent(e.probability);
    where += " at x " + e.pose[0] + " m, y " + e.pose[1] + " m, heading " + e.pose[2] + "\\u00b0";
  } else if (e.place) where = "Best guess: " + e.place + ", " + e.level + ", " + percent(e.probability);
  by("where").textContent = where;
  by("why").textContent = e.message ? e.failure + ": " + e.message : e.failure;
  const news = STATES[e.state] + (e.state === "LOCALIZED" ? " in " + e.place : "");
  if (news !== told) by("told").textContent = told = news;
  by("plan").alt = "Floor plan of " + e.level + " with the belief: " + where;
}

function showBars(e) {
  const rows = Object.entries(e.shares).sort((a, b) => b[1] - a[1]).slice(0, 5).map(([n, s]) => [n, s, color(n)]);
  rows.push(["nowhere in the map", e.unknown, "#7b8794"]);
  by("bars").replaceChildren(...rows.map(([name, share, fill]) => {
    const bar = element("i", {});
    bar.style.cssText = "width:" + 100 * (share || 0) + "%;background:" + fill;
    return element("li", {}, element("span", { className: "name", textContent: name, title: name }),
      element("span", { className: "number", textContent: percent(share) }),
      element("span", { className: "bar" }, bar));
  }));
}

function path(points, fill) {
  const out = document.createElementNS("http://www.w3.org/2000/svg", "path");
  out.setAttribute("d", "M" + points.map((p) => p[0].toFixed(1) + " " + p[1].toFixed(1)).join("L"));
  out.setAttribute("fill", fill || "none");
  return out;
}

function drawShares() {
  if (past.length < 2) return;
  const begin = past[0].t, span = Math.max(past[past.length - 1].t - begin, 1e-3);
  const totals = new Map();
  for (const e of past) for (const [n, s] of Object.entries(e.shares)) totals.set(n, (totals.get(n) || 0) + s);
  const names = [...totals].sort((a, b) => b[1] - a[1]).slice(0, COLORS.length).map(([n]) => n);
  let low = past.map(() => 0);
  const paths = [];
  const add = (values, fill) => {
    const high = low.map((v, k) => v + values[k]);
    const points = past.map((e, k) => [600 * (e.t - begin) / span, 100 - 100 * Math.min(high[k], 1)]);
    const back = past.map((e, k) => [600 * (e.t - begin) / span, 100 - 100 * Math.min(low[k], 1)]).reverse();
    paths.push(path([...points, ...back], fill));
    low = high;
  };
  for (const name of names) add(past.map((e) => e.shares[name] || 0), color(name));
  add(past.map((e, k) => Math.max(0, 1 - low[k] - (e.unknown || 0))), OTHER);
  by("shares").replaceChildren(...paths);
  by("from").textContent = span.toFixed(0) + " s ago";
  const top = names.slice(0, 3).join(", ");
  by("shares").setAttribute("aria-label", "Belief over the last " + span.toFixed(0) + " s, most in: " + top);
}

function drawLatency() {
  const known = past.filter((e) => e.latency_ms !== null && e.latency_ms < 60000);
  if (!known.length) return;
  const sorted = known.map((e) => e.latency_ms).sort((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)], most = sorted[sorted.length - 1];
  by("latency").textContent = known[known.length - 1].latency_ms.toFixed(0) + " ms";
  by("latency-note").textContent = "from sensor to answer; median " + middle.toFixed(0) + " ms, most "
    + most.toFixed(0) + " ms";
  by("latencies").setAttribute("aria-label", "Latency over time: " + by("latency-note").textContent);
  const begin = known[0].t, span = Math.max(known[known.length - 1].t - begin, 1e-3);
  const line = path(known.map((e) => [600 * (e.t - begin) / span, 96 - 90 * e.latency_ms / Math.max(most, 1)]));
  line.setAttribute("stroke", "$right");
  line.setAttribute("stroke-width", "2");
  line.setAttribute("vector-effect", "non-scaling-stroke");
  by("latencies").replaceChildren(line);
}

let placesShown = "";
function showPlaces(retrievals, pictures) {
  const text = JSON.stringify([retrievals, pictures]);
  if (text === placesShown || !Object.keys(retrievals).length) return;
  placesShown = text;
  by("places").replaceChildren(...Object.keys(retrievals).sort().flatMap((modality) => {
    const r = retrievals[modality];
    const list = r.places.map((p) => {
      const source = "/place/" + p.id.map(encodeURIComponent).join("/");
      const image = pictures ? element("img", { src: source, alt: "the map's picture of " + p.name })
        : element("span", { className: "blank" });
      image.onerror = () => image.replaceWith(element("span", { className: "blank" }));
      return element("li", {}, image, element("b", { textContent: p.name }),
        element("span", { className: "quiet", textContent: p.level + ", " + percent(p.probability) }));
    });
    const title = modality.replace("_", " ") + (r.abstained ? ": not sure enough to name one" : "");
    return [element("h3", { textContent: title }), element("ul", { className: "matches" }, ...list)];
  }));
}

function showNodes(board) {
  const rows = Object.entries(board.nodes).map(([n, s]) => [n, s.message || (s.level ? "in trouble" : "fine")]);
  if (board.estimate) {
    rows.push(["seen through", board.estimate.modalities.join(", ").replaceAll("_", " ") || "nothing yet"]);
    rows.push(["sweeps in the cloud", board.estimate.scans]);
    if (board.estimate.runtime_ms !== null) rows.push(["search", board.estimate.runtime_ms + " ms"]);
  }
  by("nodes").replaceChildren(...rows.flatMap(([k, v]) => [element("dt", { textContent: k }),
    element("dd", { textContent: v })]));
}

function redraw() { drawShares(); drawLatency(); }

function listen() {
  const source = new EventSource("/events");
  source.addEventListener("history", (event) => {
    past = JSON.parse(event.data);
    shown = { plan: 0, frame: 0 };
    redraw();
  });
  source.addEventListener("board", (event) => {
    const before = latest && latest.estimate;
    latest = JSON.parse(event.data);
    heard = Date.now();
    const e = latest.estimate;
    if (e && (!before || before.t !== e.t || before.state !== e.state)) {
      const last = past[past.length - 1];
      if (last && e.t < last.t - 1) past = [];
      if (!last || last.t !== e.t) past.push(e);
      past.sort((a, b) => a.t - b.t);
      if (past.length > KEPT) past = past.slice(-KEPT);
      redraw();
    }
    if (e) { showEstimate(e); showBars(e); }
    showPlaces(latest.retrievals, latest.pictures);
    showNodes(latest);
    refresh("plan", "/plan.png", latest.plan ? latest.versions.plan : 0);
    refresh("frame", "/frame.jpg", latest.versions.frame);
  });
  source.onerror = () => { heard = heard || Date.now(); };
}

setInterval(() => {
  if (!heard || Date.now() - heard < QUIET_MS) return;
  by("state").textContent = "silent";
  by("state").className = "badge silent";
  by("why").textContent = "Nothing has come for " + Math.round((Date.now() - heard) / 1000)
    + " s: what is shown is old.";
}, 1000);
listen();
</script>
</body>
</html>
"""

PAGE = Template(_PAGE).substitute(
    css=CSS, right=STATE_COLORS["right"], colors=json.dumps(PLACE_COLORS), other=OTHER_POSES, nowhere=NOWHERE
)
