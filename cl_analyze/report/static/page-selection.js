// ---- what is left of a figure: checkpoints that are off leave no mark, no row and no panel, and
// the others close up
const numbered = (axis, panel) => axis + (panel ? panel + 1 : "");
const panelOf = (reference) => (parseInt(String(reference).slice(1), 10) || 1) - 1;
const sourceOf = (trace) => trace.meta.source || (checkpoints.has(trace.name) ? trace.name : "");
const panelSource = (meta, panel) => meta.sources[panel] ||
  (checkpoints.has(meta.titles[panel]) ? meta.titles[panel] : "");

// An axis with a tick for each checkpoint: places of those that are off, and where the others go.
function closedUp(axis) {
  const ticks = axis.ticktext || [];
  if (!state.off.size || !ticks.length || !ticks.every((text) => checkpoints.has(text))) return null;
  const gone = axis.tickvals.filter((_, i) => !isOn(ticks[i]));
  if (!gone.length) return null;
  const shift = (at) => at - gone.filter((place) => place < at).length;
  const kept = axis.tickvals.map((at, i) => [at, ticks[i]]).filter(([, text]) => isOn(text));
  return {
    lost: gone.length, none: kept.length === 0,
    place: (at) => (gone.some((place) => Math.abs(place - at) < 0.5) ? null : shift(at)),
    axis: {
      ...axis, tickvals: kept.map(([at]) => shift(at)), ticktext: kept.map(([, text]) => text),
      ...(axis.range ? { range: axis.range.map(shift) } : {}),
    },
  };
}

// The points of a trace at these places of its lists.
function only(trace, kept) {
  const length = trace.y.length;
  if (kept.length === length) return trace;
  const chosen = (list) => (Array.isArray(list) && list.length === length
    ? kept.map((i) => list[i]) : list);
  const within = (part, keys) => part && Object.assign({ ...part }, Object.fromEntries(
    keys.filter((key) => key in part).map((key) => [key, chosen(part[key])])));
  const out = within(trace, ["x", "y", "text", "textposition", "hovertext", "customdata"]);
  out.meta = within(trace.meta, ["sources", "rows", "neighbours"]);
  if (out.marker) out.marker = within(out.marker, ["color"]);
  for (const bars of ["error_x", "error_y"]) {
    if (out[bars]) out[bars] = within(out[bars], ["array", "arrayminus"]);
  }
  return out;
}

// The cells of a matrix whose row and column are of checkpoints that are on.
function onlyCells(trace, x, y) {
  if (!x && !y) return trace;
  const rows = (matrix) => matrix && matrix.filter((_, i) => !y || y.place(i) !== null)
    .map((row) => row.filter((_, i) => !x || x.place(i) !== null));
  const out = { ...trace };
  for (const key of ["z", "text", "hovertext"]) if (out[key]) out[key] = rows(out[key]);
  return out;
}

function leftOf(trace, x, y, isMatrix) {
  if (!isOn(sourceOf(trace))) return null;
  if (trace.type === "heatmap") return onlyCells(trace, x, y);
  if (isMatrix && x && y) return null;  // a tree beside a matrix: clusters of other members
  const sources = trace.meta.sources || [];
  if (!state.off.size || !(x || y || sources.length)) return trace;
  const there = (i) => (!sources.length || isOn(sources[i])) &&
    (!x || x.place(trace.x[i]) !== null) && (!y || y.place(trace.y[i]) !== null);
  const kept = trace.y.map((_, i) => i).filter(there);
  if (!kept.length) return null;
  const out = { ...only(trace, kept) };
  if (x) out.x = out.x.map(x.place);
  if (y) out.y = out.y.map(y.place);
  return out;
}

// Traces, shapes, axes and panels of a figure under the switches and its own choice.
function selected(figure) {
  const { meta, layout } = figure;
  const axes = {}, closed = {};
  const matrices = new Set(figure.data.filter((t) => t.type === "heatmap").map((t) => t.xaxis));
  let panels = Array.from({ length: meta.panels }, (_, panel) => panel).filter((panel) => {
    for (const which of ["xaxis", "yaxis"]) {
      const name = numbered(which, panel);
      closed[name] = closedUp(layout[name]);
      axes[name] = (closed[name] || {}).axis || layout[name];
    }
    return isOn(panelSource(meta, panel)) &&
      !["xaxis", "yaxis"].some((which) => (closed[numbered(which, panel)] || {}).none);
  });
  // where each checkpoint has a line at each temperature, those of one temperature are enough
  const isAtLevel = (trace) => meta.level == null || !meta.levels.includes(state.level) ||
    trace.meta.level == null || trace.meta.level === state.level;
  let traces = figure.data.filter((trace) => panels.includes(panelOf(trace.xaxis)) && isAtLevel(trace))
    .map((trace) => {
      const panel = panelOf(trace.xaxis);
      return leftOf(trace, closed[numbered("xaxis", panel)], closed[numbered("yaxis", panel)],
        matrices.has(trace.xaxis));
    }).filter(Boolean);
  // references alone say nothing: a panel stays while a checkpoint that it had is on
  const isOwned = (trace) => Boolean(sourceOf(trace) || (trace.meta.sources || []).length);
  panels = panels.filter((panel) => {
    const had = figure.data.filter((trace) => panelOf(trace.xaxis) === panel);
    const has = traces.filter((trace) => panelOf(trace.xaxis) === panel);
    return had.some(isOwned) ? has.some(isOwned) : has.length > 0;
  });
  traces = traces.filter((trace) => panels.includes(panelOf(trace.xaxis)));
  if (figure.isOne && panels.length) {
    panels = [panels.includes(figure.chosen) ? figure.chosen : panels[0]];
    traces = traces.filter((trace) => panels.includes(panelOf(trace.xaxis)));
  }
  const isThere = (item) => panels.includes(panelOf(item.xref)) && isOn(item.source || "");
  return {
    panels, axes, traces,
    lost: Math.max(0, ...panels.map((panel) => (closed[numbered("yaxis", panel)] || { lost: 0 }).lost)),
    shapes: layout.shapes.filter(isThere), notes: layout.annotations.filter(isThere),
  };
}
