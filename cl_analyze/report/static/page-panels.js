// ---- panels: side by side where there is room, below each other on a phone
const LEVEL_OFF = 0.15; // opacity of lines at other levels than the dial's
const NARROW = 500;     // pixels below which names need room and one panel is shown at a time
const HALF = { top: 30, line: 22, axis: 62 };

// Names of the legend, each once: of the first trace or rule that is left of each name.
function withLegend(items) {
  const listed = new Set();
  return items.map((item) => {
    const isListed = Boolean(item.name) && item.fill !== "toself" &&
      !listed.has(item.name);
    if (isListed) listed.add(item.name);
    return { ...item, showlegend: isListed };
  });
}
const decades = Object.fromEntries(Array.from({ length: 81 }, (_, i) => i - 40).map((power) => {
  const raised = String(power).replace("-", "⁻").replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]);
  const text = power >= -2 && power <= 4 ? String(Number("1e" + power)) : "10" + raised;
  return ["1e" + (power < 0 ? "−" : "+") + Math.abs(power), text];
}));

// A grid for the panels: pixels, and shares of the picture for each axis.
function gridOf(figure, view, width) {
  const meta = figure.meta, n = view.panels.length;
  const columns = Math.max(1, Math.min(meta.columns, Math.floor(width / 260), n));
  const rows = Math.ceil(n / columns);
  const names = [...view.traces, ...view.shapes].filter((item) => item.showlegend)
    .map((item) => item.name.length);
  const across = Math.max(1, Math.floor(width / (50 + 7 * Math.max(0, ...names))));
  const legend = names.length ? HALF.line * Math.ceil(names.length / across) + 12 : 0;
  const upright = Math.max(0, ...view.panels.map((panel) => {
    const axis = view.axes[numbered("xaxis", panel)];
    return axis.tickangle === -90 ? Math.max(...axis.ticktext.map((text) => text.length)) : 0;
  }));
  const under = HALF.axis + 6.4 * upright;
  const top = meta.titles.some(Boolean) ? HALF.top : 12;
  const own = meta.height - 29 * view.lost;  // rows of dots that are gone need no room
  const each = Math.max(own, Math.min(meta.height, view.lost ? 110 : 250), view.lost ? 110 : 250);
  const height = each * rows + top + under + legend;
  const inner = height - top - under - legend;
  const gapX = columns > 1 ? Math.min(0.1, 74 / width) : 0;
  const gapY = rows > 1 ? Math.min(0.6 / rows, (under + 12) / inner) : 0;
  return {
    columns, rows, top, height, inner, gapX, gapY, legend, bottom: under + legend,
    w: (1 - gapX * (columns - 1)) / columns, h: (1 - gapY * (rows - 1)) / rows,
  };
}

function styled(axis, line) {
  axis.gridcolor = line;
  axis.linecolor = line;
  axis.title = { ...axis.title, text: escaped(axis.title.text), font: { size: 12 } };
  axis.tickfont = { size: 11 };
  if (axis.ticktext) axis.ticktext = axis.ticktext.map(escaped);
  else if (axis.type === "log") {  // plotly's own powers of ten are larger than other ticks
    axis.tickformat = ".0e";
    axis.labelalias = decades;
  }
}

function placed(figure, view, width) {
  const meta = figure.meta, grid = gridOf(figure, view, width);
  const style = getComputedStyle(root);
  const ink = style.getPropertyValue("--ink").trim(), line = style.getPropertyValue("--line").trim();
  const layout = recoloured({
    ...view.axes, shapes: view.shapes, annotations: [...view.notes, ...arrowsOf(view)],
  });
  layout.annotations.forEach((note) => { note.text = escaped(note.text); });
  const same = (which) => new Set(view.panels.map((panel) =>
    view.axes[numbered(which, panel)].title.text)).size === 1;
  const oneX = same("xaxis"), oneY = same("yaxis");
  for (let panel = 0; panel < meta.panels; panel++) {
    const i = view.panels.indexOf(panel), suffix = panel ? String(panel + 1) : "";
    const x = layout["xaxis" + suffix], y = layout["yaxis" + suffix];
    if (i < 0) {
      x.visible = y.visible = false;
      continue;
    }
    const left = (i % grid.columns) * (grid.w + grid.gapX);
    const upper = 1 - Math.floor(i / grid.columns) * (grid.h + grid.gapY);
    x.domain = [left, Math.min(1, left + grid.w)];
    y.domain = [Math.max(0, upper - grid.h), upper];
    [x, y].forEach((axis) => styled(axis, line));
    if (i % grid.columns && oneY) y.title.text = "";
    if (i + grid.columns < view.panels.length && oneX) x.title.text = "";
    if (y.matches && i % grid.columns) y.showticklabels = false;
    if (y.matches) y.matches = view.panels[0] === panel ? undefined : numbered("y", view.panels[0]);
    if (meta.titles[panel]) {
      layout.annotations.push({
        text: "<b>" + escaped(meta.titles[panel]) + "</b>", xref: "x" + suffix + " domain",
        yref: "y" + suffix + " domain", x: 0, y: 1, xanchor: "left", yanchor: "bottom",
        showarrow: false, font: { size: 12 },
      });
    }
  }
  layout.shapes.forEach((shape) => { if (shape.name) shape.name = escaped(shape.name); });
  return Object.assign(layout, {
    width: width, height: grid.height,
    margin: { l: 58, r: 16, t: grid.top, b: grid.bottom },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: ink, size: 12, family: getComputedStyle(document.body).fontFamily },
    hovermode: "closest", hoverlabel: { namelength: 40, align: "left" },
    showlegend: grid.legend > 0,
    legend: { orientation: "h", yref: "container", y: 0, yanchor: "bottom", x: 0, font: { size: 12 } },
    // zoom stays under the dial and the theme, and starts anew where panels change
    uirevision: [...state.off, view.panels.join()].join(),
    // a colour bar is as long as a panel, however many there are
    bar: Math.min(240, grid.h * grid.inner),
  });
}

// A head in the middle of each piece of a line that goes along a run.
function arrowsOf(view) {
  return view.traces.filter((trace) => trace.meta.arrows).flatMap((trace) =>
    trace.x.slice(1).map((_, i) => {
      const at = (axis, share) => trace[axis][i] + share * (trace[axis][i + 1] - trace[axis][i]);
      return {
        x: at("x", 0.6), y: at("y", 0.6), ax: at("x", 0.4), ay: at("y", 0.4),
        xref: trace.xaxis, yref: trace.yaxis, axref: trace.xaxis, ayref: trace.yaxis,
        text: "", showarrow: true, arrowhead: 2, arrowwidth: 1.5, arrowcolor: trace.line.color,
      };
    }));
}
