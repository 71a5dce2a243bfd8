// ---- drawing: what plotly is given, and what is done about what it drew
const touch = window.matchMedia("(hover: none)");
function options(entry) {
  return {
    responsive: false, displaylogo: false, displayModeBar: touch.matches ? false : "hover",
    // nothing leaves this page: no button that uploads a figure
    plotlyServerURL: "", showSendToCloud: false, showEditInChartStudio: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "sendChartToCloud"],
    toImageButtonOptions: { format: "svg", filename: entry.name },
  };
}

function tracesOf(figure, view, bar) {
  const level = figure.meta.levels.includes(state.level) ? state.level : null;
  const bars = new Set();
  return view.traces.map((trace) => {
    const out = recoloured(trace);
    if (out.name) out.name = out.legendgroup = escaped(out.name);
    if (out.hovertext) out.hovertext = escaped(out.hovertext);
    if (out.hovertemplate) out.hovertemplate = escaped(out.hovertemplate) + "<extra></extra>";
    if (out.text) out.text = escaped(out.text);
    if (level !== null && trace.meta.level != null && trace.meta.level !== level) {
      out.opacity = LEVEL_OFF * (trace.opacity ?? 1);
      Object.assign(out, { hoverinfo: "skip", hovertemplate: undefined });
      out.showlegend = false;
    }
    const colours = out.type === "heatmap" ? out : out.marker;
    if (colours && colours.colorbar) {  // one colour bar for all panels with one scale
      const key = JSON.stringify([out.zmin, out.zmax, colours.colorbar.title.text]);
      colours.showscale = !bars.has(key);
      bars.add(key);
      Object.assign(colours.colorbar, { lenmode: "pixels", len: bar, y: 1, yanchor: "top" });
      colours.colorbar.title.text = escaped(colours.colorbar.title.text);
    }
    out.meta = { ...trace.meta, source: escaped(trace.meta.source || "") };
    return out;
  });
}

// Names beside points: one that would cover another, or leave the picture, waits for the pointer.
function withoutOverlaps(plot) {
  const frame = plot.querySelector(".main-svg").getBoundingClientRect();
  const taken = Array.from(plot.querySelectorAll(".infolayer [class*=cb]"))
    .map((bar) => bar.getBoundingClientRect());
  plot.querySelectorAll(".textpoint text").forEach((text) => {
    text.style.visibility = "";
    const box = text.getBoundingClientRect();
    const isClear = box.left >= frame.left && box.right <= frame.right && taken.every((other) =>
      box.right <= other.left || other.right <= box.left ||
      box.bottom <= other.top || other.bottom <= box.top);
    if (isClear) taken.push(box); else text.style.visibility = "hidden";
  });
}

async function draw(entry) {
  entry.isDirty = false;
  const page = await loaded();
  partners = page.dark;
  const isFirst = !entry.figure;
  if (isFirst) {
    entry.figure = page.figures[entry.name];
    entry.figure.isOne = Boolean(entry.figure.meta.choice);
  }
  const { plot, figure } = entry;
  const width = plot.parentElement.clientWidth;
  offerPanels(entry, width);
  if (isFirst) offerRows(entry);
  const view = selected(figure);
  const listed = withLegend([...view.shapes.map((shape) => ({ ...shape, isShape: true })), ...view.traces]);
  view.shapes = listed.filter((item) => item.isShape);
  view.traces = listed.filter((item) => !item.isShape);
  entry.element.classList.toggle("emptied", !view.panels.length);
  if (!view.panels.length) {
    entry.said.textContent = "Every checkpoint of this figure is switched off.";
    entry.element.classList.add("drawn");
    return;
  }
  const layout = placed(figure, view, width);
  const traces = tracesOf(figure, view, layout.bar);
  delete layout.bar;
  entry.shapes = layout.shapes;
  entry.view = view;
  entry.said.textContent = entry.picked ? neighboursInWords(entry) : "";
  layout.shapes = [...entry.shapes, ...ringsOf(entry)];
  await Plotly.react(plot, traces, layout, options(entry));
  entry.element.classList.add("drawn");
  if (isFirst) {
    plot.on("plotly_afterplot", () => finished(plot));
    plot.on("plotly_click", (event) => picked(entry, event.points[0]));
  }
  finished(plot);
}
function finished(plot) {
  withoutOverlaps(plot);
  // the keyboard has the page's own controls: seven buttons at each figure are no tab stops
  plot.querySelectorAll(".modebar-btn").forEach((button) => { button.tabIndex = -1; });
}

// ---- which figures are drawn when: those in view at once, the others when they are seen, and
// none that is only scrolled past
const entries = Array.from(document.querySelectorAll("figure[id]"))
  .filter((element) => canDraw && element.querySelector(".plot"))
  .map((element) => ({
    element, name: element.id.replace("figure-", ""), plot: element.querySelector(".plot"),
    figure: null, isNear: false, isDirty: true, picked: null, said: said(element),
  }));
function said(element) {
  const line = document.createElement("p");
  line.className = "said soft";
  line.setAttribute("aria-live", "polite");
  element.querySelector(".plot").after(line);
  return line;
}
const near = new IntersectionObserver((changes) => {
  changes.forEach((change) => {
    entries.find((entry) => entry.element === change.target).isNear = change.isIntersecting;
  });
  settled();
}, { rootMargin: "250px" });
entries.forEach((entry) => near.observe(entry.element));
let moving = 0;
function settled() {
  clearTimeout(moving);
  moving = setTimeout(drawSeen, 120);
}
window.addEventListener("scroll", settled, { passive: true });
let drawing = Promise.resolve();
function drawSeen() {
  drawing = drawing.then(async () => {
    for (;;) {
      const middle = (entry) => {
        const box = entry.element.getBoundingClientRect();
        return Math.abs((box.top + box.bottom - window.innerHeight) / 2);
      };
      const [next] = entries.filter((entry) => entry.isNear && entry.isDirty)
        .sort((a, b) => middle(a) - middle(b));
      if (!next) return;
      await draw(next);
      await new Promise((done) => { requestAnimationFrame(done); });
    }
  });
  return drawing;
}
function redraw() {
  entries.forEach((entry) => { entry.isDirty = true; });
  return drawSeen();
}
let widthBefore = window.innerWidth, resizing = 0;
window.addEventListener("resize", () => {
  if (window.innerWidth === widthBefore) return;  // a phone's bars come and go
  widthBefore = window.innerWidth;
  clearTimeout(resizing);
  resizing = setTimeout(redraw, 150);
});
