// ---- checkpoints: one switch for all figures and tables
chips.forEach((chip) => {
  chip.addEventListener("click", () => {
    const name = chip.dataset.name;
    if (isOn(name)) state.off.add(name); else state.off.delete(name);
    chip.setAttribute("aria-pressed", String(isOn(name)));
    document.querySelectorAll("[data-source]").forEach((element) => {
      element.hidden = !isOn(element.dataset.source);
    });
    redraw();
  });
});

// ---- one temperature for all figures that have marks at several
const dial = document.getElementById("temperature");
if (dial) {
  const input = dial.querySelector("input"), output = dial.querySelector("output");
  const levels = JSON.parse(dial.dataset.levels);
  const turn = () => {
    const at = Number(input.value);
    state.level = at === 0 ? null : levels[at - 1];
    output.textContent = at === 0 ? "all" : "τ = " + levels[at - 1];
    input.setAttribute("aria-valuetext", output.textContent);
    entries.filter((entry) => !entry.figure || entry.figure.meta.levels.length)
      .forEach((entry) => { entry.isDirty = true; });
    drawSeen();
  };
  input.max = levels.length;
  input.value = dial.dataset.start;
  input.addEventListener("input", turn);
  turn();
}

// ---- panels: the one that is chosen, in figures of which one is shown at a time, and on a phone
function offerPanels(entry, width) {
  const { element, figure } = entry;
  const meta = figure.meta, isMany = !meta.choice && meta.panels > 2 && meta.titles.every(Boolean);
  let label = element.querySelector(".choice:not(.row)");
  if (!label && isMany && width < NARROW) {
    label = document.createElement("label");
    label.className = "choice panels";
    label.append("panel ", document.createElement("select"));
    meta.titles.concat("all panels").forEach((title) => {
      const option = document.createElement("option");
      option.textContent = title;
      label.lastChild.append(option);
    });
    entry.plot.before(label);
  }
  if (!label) return;
  const select = label.querySelector("select");
  if (!label.dataset.heard) {
    label.dataset.heard = "yes";
    select.addEventListener("change", () => draw(entry));
  }
  label.hidden = !meta.choice && width >= NARROW;
  figure.chosen = select.selectedIndex;
  figure.isOne = Boolean(meta.choice) || (!label.hidden && figure.chosen < meta.panels);
  Array.from(select.options).slice(0, meta.panels).forEach((option, panel) => {
    option.hidden = option.disabled = !isOn(panelSource(meta, panel));
  });
}

// ---- a point of a map: a click rings it and its nearest neighbours, in every panel
function picked(entry, point) {
  const rows = point && point.data.meta.rows;
  if (!rows || !rows.length) return;
  const row = rows[point.pointNumber];
  pick(entry, entry.picked && entry.picked.row === row ? null
    : { row, panel: panelOf(point.data.xaxis) });
}
function pick(entry, chosen) {
  entry.picked = chosen;
  entry.said.textContent = chosen ? neighboursInWords(entry) : "";
  Plotly.relayout(entry.plot, { shapes: [...entry.shapes, ...ringsOf(entry)] });
}
// The same by keyboard: a row by its number.
function offerRows(entry) {
  const traces = entry.figure.data.filter((trace) => (trace.meta.rows || []).length);
  if (!traces.length) return;
  const label = document.createElement("label"), input = document.createElement("input");
  Object.assign(input, { type: "number", min: 0, step: 1, placeholder: "number" });
  label.className = "choice row";
  label.append("row and its neighbours ", input);
  entry.plot.before(label, entry.said);  // the answer stands beside the question
  input.addEventListener("change", () => {
    const row = input.value === "" ? null : Number(input.value);
    const [place] = row === null ? [] : placesOf(entry, row);
    pick(entry, place ? { row, panel: panelOf(place.trace.xaxis) } : null);
    if (row !== null && !place) entry.said.textContent = "Row " + row + " is not among the rows that this figure shows.";
  });
}
// The places of a row in the panels that are shown.
function placesOf(entry, row, panel) {
  return entry.view.traces.flatMap((trace) => {
    const i = (trace.meta.rows || []).indexOf(row);
    return i < 0 || (panel != null && panelOf(trace.xaxis) !== panel) ? [] : [{ trace, i }];
  });
}
function ringsOf(entry) {
  if (!entry.picked) return [];
  const ring = ({ trace, i }, size, width) => ({
    type: "circle", xref: trace.xaxis, yref: trace.yaxis, xsizemode: "pixel", ysizemode: "pixel",
    xanchor: trace.x[i], yanchor: trace.y[i], x0: -size, x1: size, y0: -size, y1: size,
    line: { width, color: getComputedStyle(root).getPropertyValue("--ink").trim() }, name: "ring",
  });
  return placesOf(entry, entry.picked.row).flatMap((place) => {
    const others = (place.trace.meta.neighbours || [])[place.i] || [];
    const panel = panelOf(place.trace.xaxis);
    return [ring(place, 8, 2.5), ...others.flatMap((row) => placesOf(entry, row, panel))
      .map((other) => ring(other, 5, 1.2))];
  });
}
function neighboursInWords(entry) {
  const { row, panel } = entry.picked;
  const inWords = (number) => {
    const [place] = placesOf(entry, number, panel);
    const about = place && (place.trace.hovertext || [])[place.i];
    const text = about || (place && place.trace.name) || "";
    return text.startsWith("row ") ? text : "row " + number + (text ? " (" + text + ")" : "");
  };
  const [place] = placesOf(entry, row, panel);
  const others = (place && (place.trace.meta.neighbours || [])[place.i]) || [];
  return inWords(row) + (others.length
    ? ": nearest " + others.length + ": " + others.map(inWords).join("; ") : "");
}
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  entries.filter((entry) => entry.picked).forEach((entry) => pick(entry, null));
});

// ---- theme
const themeButton = document.getElementById("theme");
function applyTheme() {
  if (state.theme === "auto") root.removeAttribute("data-theme");
  else root.setAttribute("data-theme", state.theme);
  themeButton.textContent = "Theme: " + state.theme;
  redraw();
}
themeButton.addEventListener("click", () => {
  state.theme = themes[(themes.indexOf(state.theme) + 1) % themes.length];
  remember(state.theme);
  applyTheme();
});
systemIsDark.addEventListener("change", applyTheme);
state.theme = remembered();
applyTheme();

window.clAnalyze = {
  drawAll: () => (drawing = drawing.then(async () => {
    for (const entry of entries) await draw(entry);
  })),
  // resolves when every figure in view is drawn
  settled: async () => {
    do {
      await new Promise((done) => { setTimeout(done, 150); });
      await drawing;
    } while (entries.some((entry) => entry.isNear && entry.isDirty));
  },
  draw: (name) => (drawing = drawing.then(() => draw(entries.find((entry) => entry.name === name)))),
};
