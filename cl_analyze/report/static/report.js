"use strict";
(function () {
  const root = document.documentElement;

  // ---- the plotting library and the figures' data; where a browser cannot unpack them, the
  // static images stay
  async function unpacked(id) {
    const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text();
  }
  let loading = null;
  function loaded() {
    loading = loading || Promise.all([unpacked("plotly"), unpacked("plots")]).then((texts) => {
      const script = document.createElement("script");
      script.textContent = texts[0];
      document.head.append(script);
      return JSON.parse(texts[1]);
    });
    return loading;
  }
  const interactive = "DecompressionStream" in window;
  root.classList.add("js");
  if (interactive) root.classList.add("interactive");
  const hidden = new Set();          // checkpoints that are switched off
  const drawn = new Map();           // plot element -> its figure
  const narrow = () => window.innerWidth < 700;

  // ---- theme: as the system says, or as chosen
  const button = document.getElementById("theme");
  const themes = ["auto", "light", "dark"];
  let theme = "auto";
  const isDark = () => theme === "dark" ||
    (theme === "auto" && window.matchMedia("(prefers-color-scheme: dark)").matches);
  function applyTheme() {
    if (theme === "auto") root.removeAttribute("data-theme");
    else root.setAttribute("data-theme", theme);
    button.textContent = "Theme: " + theme;
    drawn.forEach((figure, plot) => draw(plot, figure));
  }
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    applyTheme();
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", applyTheme);

  // ---- colours: what is too dark to be seen on a dark page becomes lighter
  function seen(colour) {
    if (!isDark() || typeof colour !== "string" || !/^#[0-9a-f]{6}$/i.test(colour)) return colour;
    const rgb = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    const light = (0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]) / 255;
    if (light > 0.45) return colour;
    const most = Math.max(...rgb), least = Math.min(...rgb), spread = most - least;
    if (spread < 24) {
      return "#" + rgb.map((c) => Math.round(c + (0.8 - light) * (255 - c)).toString(16)
        .padStart(2, "0")).join("");
    }
    const hue = 60 * (most === rgb[0] ? ((rgb[1] - rgb[2]) / spread + 6) % 6
      : most === rgb[1] ? (rgb[2] - rgb[0]) / spread + 2 : (rgb[0] - rgb[1]) / spread + 4);
    const middle = (most + least) / 510;
    const full = spread / 255 / (1 - Math.abs(2 * middle - 1));
    return "hsl(" + Math.round(hue) + "," + Math.round(100 * Math.min(0.85, 1.4 * full)) + "%," +
      Math.round(100 * Math.max(middle, 0.6)) + "%)";
  }
  function recoloured(value) {
    if (Array.isArray(value)) return value.map(recoloured);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, recoloured(item)]));
    }
    return seen(value);
  }

  // ---- the panels that are shown: all, or the chosen one
  const panelsShown = (figure) => figure.meta.choice
    ? [figure.chosen || 0] : Array.from({ length: figure.meta.panels }, (_, i) => i);
  const panelOf = (trace) => (Number(trace.xaxis.slice(1)) || 1) - 1;

  // ---- panels: side by side where there is room, below each other on a phone
  function placed(figure, width) {
    const meta = figure.meta;
    const shown = panelsShown(figure);
    const columns = Math.max(1, Math.min(meta.columns, Math.floor(width / 260), shown.length));
    const rows = Math.ceil(shown.length / columns);
    const ink = getComputedStyle(root).getPropertyValue("--ink").trim();
    const line = getComputedStyle(root).getPropertyValue("--line").trim();
    const each = Math.max(meta.height, 250);
    const labels = figure.data.filter((trace) => trace.showlegend).map((trace) => trace.name.length);
    const across = Math.max(1, Math.floor(width / (50 + 7 * Math.max(0, ...labels))));
    const legendRows = Math.ceil(labels.length / across);
    const top = meta.titles.some(Boolean) ? 30 : 12;
    const bottom = 62 + (meta.legend ? 22 * legendRows + 12 : 0);
    const height = each * rows + top + bottom;
    const inner = height - top - bottom;
    const layout = recoloured(figure.layout);
    const gapX = columns > 1 ? Math.min(0.1, 74 / width) : 0;
    const upright = Object.values(figure.layout).some((axis) => axis && axis.tickangle === -90);
    const gapY = rows > 1 ? Math.min(0.45 / rows, (upright ? 130 : 74) / inner) : 0;
    const w = (1 - gapX * (columns - 1)) / columns;
    const h = (1 - gapY * (rows - 1)) / rows;
    layout.annotations = layout.annotations.slice();
    for (let panel = 0; panel < meta.panels; panel++) {
      const suffix = panel ? String(panel + 1) : "";
      const i = shown.indexOf(panel);
      if (i < 0) {
        layout["xaxis" + suffix].visible = layout["yaxis" + suffix].visible = false;
        continue;
      }
      const left = (i % columns) * (w + gapX);
      const upper = 1 - Math.floor(i / columns) * (h + gapY);
      const x = layout["xaxis" + suffix], y = layout["yaxis" + suffix];
      x.domain = [left, Math.min(1, left + w)];
      y.domain = [Math.max(0, upper - h), upper];
      for (const axis of [x, y]) {
        axis.gridcolor = line;
        axis.linecolor = line;
        axis.title.font = { size: 12 };
        axis.tickfont = { size: 11 };
        if (axis.ticktext) axis.ticktext = axis.ticktext.map(escaped);
      }
      const same = (which) => new Set(Array.from({ length: meta.panels }, (_, k) =>
        figure.layout[which + (k ? k + 1 : "")].title.text)).size === 1;
      if (i % columns && same("yaxis")) y.title.text = "";
      if (i + columns < shown.length && same("xaxis")) x.title.text = "";
      if (y.matches && i % columns) y.showticklabels = false;
      if (meta.titles[panel]) {
        layout.annotations.push({
          text: "<b>" + escaped(meta.titles[panel]) + "</b>", xref: "x" + suffix + " domain",
          yref: "y" + suffix + " domain", x: 0, y: 1, xanchor: "left", yanchor: "bottom",
          showarrow: false, font: { size: 12 },
        });
      }
    }
    return Object.assign(layout, {
      height: height, margin: { l: 58, r: 16, t: top, b: bottom },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, size: 12, family: getComputedStyle(document.body).fontFamily },
      hovermode: "closest", hoverlabel: { namelength: 40 }, showlegend: meta.legend,
      legend: { orientation: "h", y: -(50 / inner), yanchor: "top", x: 0, font: { size: 12 } },
    });
  }
  // plotly takes < for markup, and what stands between two $ for LaTeX
  const escaped = (text) => text
    .replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/\$/g, "&#36;");

  // ---- drawing
  function traces(figure) {
    const level = figure.level, shown = panelsShown(figure);
    return figure.data.map((trace) => {
      const out = recoloured(trace);
      if (out.name) out.name = escaped(out.name);
      if (out.hovertext) out.hovertext = out.hovertext.map(escaped);
      if (out.text) out.text = out.text.map(escaped);
      if (level != null && trace.meta.level != null && trace.meta.level !== level) {
        out.opacity = 0.12;
      }
      if (hidden.has(trace.name) || hidden.has(trace.meta.source)) out.visible = false;
      if (!shown.includes(panelOf(trace))) out.visible = false;
      return out;
    });
  }
  const options = {
    responsive: false, displaylogo: false,
    // nothing leaves this page: no button that uploads a figure
    plotlyServerURL: "", showSendToCloud: false, showEditInChartStudio: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "sendChartToCloud"],
  };
  function draw(plot, figure) {
    const width = plot.parentElement.clientWidth;
    const layout = placed(figure, width);
    layout.width = width;
    layout.shapes.forEach((shape) => { if (shape.name) shape.name = escaped(shape.name); });
    drawn.set(plot, figure);
    return Plotly.react(plot, traces(figure), layout, options).then(() => {
      plot.closest("figure").classList.add("drawn");
    });
  }
  async function start(element) {
    const plot = element.querySelector(".plot");
    if (!plot || !interactive) return;
    const figure = (await loaded())[element.id.replace("figure-", "")];
    if (drawn.has(plot)) return;
    drawn.set(plot, figure);
    const dial = element.querySelector(".dial");
    if (dial) {
      const input = dial.querySelector("input"), output = dial.querySelector("output");
      const levels = figure.meta.levels;
      input.max = levels.length;
      const turn = () => {
        const at = Number(input.value);
        figure.level = at === 0 ? null : levels[at - 1];
        output.textContent = at === 0 ? "all" : figure.meta.dial + " = " + levels[at - 1];
        draw(plot, figure);
      };
      input.addEventListener("input", turn);
      output.textContent = "all";
      if (figure.meta.level != null) {  // where pictures are
        figure.level = figure.meta.level;
        input.value = levels.indexOf(figure.level) + 1;
        output.textContent = figure.meta.dial + " = " + figure.level;
      }
    }
    const choice = element.querySelector(".choice select");
    if (choice) {
      choice.addEventListener("change", () => {
        figure.chosen = choice.selectedIndex;
        draw(plot, figure);
      });
    }
    await draw(plot, figure);
  }
  const figures = Array.from(document.querySelectorAll("figure[id]"));
  const near = new IntersectionObserver((entries) => {
    entries.filter((entry) => entry.isIntersecting).forEach((entry) => {
      near.unobserve(entry.target);
      start(entry.target);
    });
  }, { rootMargin: "600px" });
  figures.forEach((figure) => near.observe(figure));
  let waiting = 0;
  let before = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth === before) return;  // a phone's bars come and go
    before = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(() => drawn.forEach((figure, plot) => draw(plot, figure)), 150);
  });

  // ---- checkpoints: one switch for all figures and tables
  document.querySelectorAll(".chips button").forEach((chip) => {
    chip.addEventListener("click", () => {
      const name = chip.dataset.name;
      const on = hidden.has(name);
      if (on) hidden.delete(name); else hidden.add(name);
      chip.setAttribute("aria-pressed", String(on));
      document.querySelectorAll("[data-source]").forEach((element) => {
        element.hidden = hidden.has(element.dataset.source);
      });
      drawn.forEach((figure, plot) => draw(plot, figure));
    });
  });

  // ---- tables: a button in each head sorts by its column
  document.querySelectorAll("table.sortable").forEach((table) => {
    table.querySelectorAll("thead th").forEach((head, column) => {
      if (!head.textContent.trim()) return;
      const sort = document.createElement("button");
      sort.className = "sort";
      sort.type = "button";
      sort.textContent = "↕";
      sort.setAttribute("aria-label", "sort by " + head.textContent.trim());
      head.append(sort);
      sort.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        table.querySelectorAll("thead th").forEach((th) => {
          th.removeAttribute("aria-sort");
          const mark = th.querySelector(".sort");
          if (mark) mark.textContent = "↕";
        });
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        sort.textContent = up ? "↑" : "↓";
        const body = table.tBodies[0];
        const key = (row) => {
          const cell = row.cells[column];
          const value = cell.dataset.v ?? cell.textContent.trim();
          return value !== "" && !isNaN(value) ? Number(value) : value;
        };
        const rank = (value) => (value === "" || value === "–" ? 2 : typeof value === "number" ? 0 : 1);
        Array.from(body.rows).map((row, i) => [key(row), i, row]).sort((a, b) => {
          const kind = rank(a[0]) - rank(b[0]);
          if (kind) return kind;
          const less = typeof a[0] === "number" ? a[0] - b[0] : String(a[0]).localeCompare(String(b[0]));
          return (up ? less : -less) || a[1] - b[1];
        }).forEach((entry) => body.append(entry[2]));
      });
    });
  });

  window.clAnalyze = {
    drawAll: () => Promise.all(figures.map(start)),
    draw: (name) => start(document.getElementById("figure-" + name)),
  };
  applyTheme();
})();
