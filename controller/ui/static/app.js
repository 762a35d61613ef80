// Reads the part of /status that it shows once a second and draws it. Text goes in by textContent only:
// pod names are other people's.
"use strict";

const rate = (bps) => bps >= 1e9 ? `${(bps / 1e9).toFixed(2)} Gbit/s` : `${(bps / 1e6).toFixed(1)} Mbit/s`;
const ms = (v) => `${v.toFixed(v < 10 ? 2 : 1)} ms`;
const percent = (v) => `${(100 * v).toFixed(1)} %`;

function cell(text, className) {
  const td = document.createElement("td");
  td.textContent = text;
  if (className) td.className = className;
  return td;
}

function lines(texts) {
  const td = cell("");
  td.append(...texts.map((text) => {
    const div = document.createElement("div");
    div.textContent = text;
    return div;
  }));
  return td;
}

function againstTarget(measured, target, format, blind) {
  const td = cell(blind ? "–" : format(measured), !blind && target > 0 && measured > target ? "violated" : "");
  if (target > 0) {
    const span = document.createElement("span");
    span.className = "target";
    span.textContent = ` / ${format(target)}`;
    td.append(span);
  }
  return td;
}

// bar draws usage within limit within ceiling, on a square-root scale so that
// 10 Mbit/s under a 1 Gbit/s ceiling can be seen.
function bar(sender) {
  const ns = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(ns, "svg");
  svg.setAttribute("class", "bar");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${rate(sender.usage_bps)} of ${rate(sender.limit_bps)}`);
  const width = (bps) => `${100 * Math.sqrt(Math.min(1, bps / sender.max_bps))}%`;
  const rect = (className, bps, y, height) => {
    const r = document.createElementNS(ns, "rect");
    for (const [k, v] of Object.entries({ class: className, x: 0, y, height, width: width(bps), rx: 2 })) r.setAttribute(k, v);
    svg.append(r);
  };
  rect("track", sender.max_bps, "0", "100%");
  rect("limit", sender.limit_bps || sender.max_bps, "0", "100%");
  rect("usage", sender.usage_bps, "25%", "50%");
  const td = cell("", "wide");
  td.append(svg);
  return td;
}

function fill(id, rows, none) {
  const body = document.getElementById(id);
  body.replaceChildren(...rows.map((cells) => {
    const tr = document.createElement("tr");
    tr.append(...cells);
    return tr;
  }));
  if (rows.length === 0) {
    const tr = document.createElement("tr");
    const td = cell(none, "none");
    td.colSpan = 9;
    tr.append(td);
    body.append(tr);
  }
}

function because(r) {
  if (!r.app) return "";
  if (r.signal === "loss") return `${r.app}: loss ${percent(r.ratio)}`;
  return `${r.app}: ${r.signal} ${ms(r.measured_ms)} / ${ms(r.target_ms)}`;
}

function vantage(x) {
  if (x.error) return `${x.from} (${x.error})`;
  if (x.node_session && !x.node_session.blind) return `${x.from} (node session ${ms(x.node_session.measured.jitter_ms)})`;
  return x.from;
}

const action = (r) => cell(r.observed ? `${r.action} (observe only)` : r.action, r.action);

function draw(s) {
  const summary = document.getElementById("summary");
  summary.className = "";
  if (!s.leader) {
    summary.textContent = `${s.replica} is a standby: it takes over when the leader is gone`;
    return;
  }
  const t = s.totals;
  summary.textContent = `${s.mode} · law ${s.law} · ${t.connected}/${t.agents} agents · ${t.apps} critical (${t.violated} in violation, ${t.blind} blind) · ${t.senders} throttleable · ${s.replica} · ${new Date(s.at).toLocaleTimeString()}`;
  turn(t);
  fill("apps", (s.apps || []).map((a) => {
    const blind = a.state === "blind";
    return [
      cell(a.pod), cell(a.node), cell(a.idle_ms ? `${a.state}, cannot be met: the idle path shows ${ms(a.idle_ms)}` : a.state, a.state),
      againstTarget(a.measured.jitter_ms, a.target.jitter_ms, ms, blind),
      againstTarget(a.measured.latency_ms, a.target.latency_ms, ms, blind),
      againstTarget(a.measured.loss, a.target.loss, percent, blind),
      cell(blind ? "–" : percent(a.violation_ratio)),
      lines(a.sessions ? a.sessions.map(vantage) : [`nowhere: ${a.nobody}`]),
    ];
  }), "no pod asks for anything");
  fill("senders", (s.senders || []).map((p) => [
    cell(p.pod), cell(p.node), cell(p.rank),
    cell(p.known ? rate(p.usage_bps) : "unknown"), cell(p.limit_bps ? rate(p.limit_bps) : "none"), bar(p),
  ]), "no pod may be limited");
  fill("reasons", (s.reasons || []).map((r) => [
    cell(r.bottleneck), action(r), cell(r.cause), cell(r.app || ""),
    cell(r.app ? because(r).slice(r.app.length + 2) : ""), cell(rate(r.usage_bps)), cell(r.to_bps ? rate(r.to_bps) : "–"),
  ]), "none known");
  fill("decisions", (s.decisions || []).map((d) => [
    cell(new Date(d.at).toLocaleTimeString()), cell(d.bottleneck), action(d), cell(d.cause), cell(because(d)),
    lines((d.limits || []).map((l) => `${l.pod} ${l.from_bps ? rate(l.from_bps) : "none"} → ${rate(l.to_bps)}`)),
  ]), "none yet");
  const time = (t) => (t ? `since ${new Date(t).toLocaleTimeString()}` : "yet");
  const { agents = [], senders = [], problems: others = [] } = s.troubles || {};
  const more = (shown, all, what) => (all > shown.length ? [`and ${all - shown.length} more ${what}: name a node or a namespace to see them`] : []);
  // An empty table would say that all is well where a name is mistyped.
  const absent = [["node", s.no_node], ["namespace", s.no_namespace]].filter(([, names]) => names);
  const problems = [
    ...absent.map(([kind, names]) => `nothing is known of ${kind} ${field(kind).value.trim()}; there is ${[...(names.first || []), ...(names.more ? [`${names.more} more`] : [])].join(", ") || "none yet"}`),
    ...agents.map((a) => `${a.role} agent ${a.pod} on ${a.node} does not report ${time(a.since)}: ${a.why}`),
    ...more(agents, t.agents - t.connected, "agents do not report"),
    ...senders.filter((p) => p.refused).map((p) => `${p.pod} can't be throttled, and what it sends is not controlled: ${p.refused}`),
    ...senders.filter((p) => p.over_limit).map((p) => `little of what ${p.pod} sends may get through: ${p.over_limit}`),
    ...more(senders, t.uncontrolled, "pods are not controlled"),
    ...others.map((p) => `${p.object}: ${p.text}`),
    ...more(others, t.problems, "problems"),
  ];
  const all = absent.length + t.agents - t.connected + t.uncontrolled + t.problems;
  field("problem-count").textContent = all;
  document.getElementById("problem-section").hidden = all === 0;
  document.getElementById("problems").replaceChildren(...problems.map((text) => {
    const li = document.createElement("li");
    li.textContent = text;
    return li;
  }));
}

// What is asked for: so many rows of each table, of one node or namespace if one is named.
const rows = 100;
let page = 0;
const field = (id) => document.getElementById(id);

function turn(t) {
  const pages = Math.max(1, Math.ceil(Math.max(t.apps, t.senders, t.reasons) / rows));
  if (page >= pages) page = pages - 1;
  field("page").textContent = `page ${page + 1} of ${pages}`;
  field("before").disabled = page === 0;
  field("after").disabled = page + 1 >= pages;
}

function query() {
  const asked = new URLSearchParams({ limit: rows, page });
  for (const name of ["node", "namespace"]) {
    const text = field(name).value.trim();
    if (text) asked.set(name, text);
  }
  return asked;
}

for (const name of ["node", "namespace"]) field(name).addEventListener("input", () => { page = 0; });
field("before").addEventListener("click", () => { page = Math.max(0, page - 1); });
field("after").addEventListener("click", () => { page += 1; });

async function refresh() {
  try {
    const response = await fetch(`status?${query()}`);
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
    draw(await response.json());
  } catch (err) {
    const summary = document.getElementById("summary");
    summary.className = "stale";
    summary.textContent = `status not readable (${err.message}); what is shown is old`;
  }
  setTimeout(refresh, 1000);
}

refresh();
