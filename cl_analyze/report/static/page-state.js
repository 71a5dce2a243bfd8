// ---- what the reader has chosen, for the whole page: it survives each redrawing
const root = document.documentElement;
root.classList.add("js");
const state = { off: new Set(), level: null, theme: "auto" };
const chips = Array.from(document.querySelectorAll(".chips button"));
const checkpoints = new Set(chips.map((chip) => chip.dataset.name));
const isOn = (source) => !state.off.has(source);

// ---- the plotting library and the figures' data, unpacked when the first figure is seen; where a
// browser cannot unpack them, the static images stay
const canDraw = "DecompressionStream" in window;
if (canDraw) root.classList.add("interactive");
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

// ---- theme: as the system says, or as chosen; a browser may refuse to remember it for a file
const themes = ["auto", "light", "dark"];
const systemIsDark = window.matchMedia("(prefers-color-scheme: dark)");
const isDark = () => state.theme === "dark" || (state.theme === "auto" && systemIsDark.matches);
function remembered() {
  try {
    const found = localStorage.getItem("cl-analyze-theme");
    return themes.includes(found) ? found : "auto";
  } catch (refused) {
    return "auto";
  }
}
function remember(theme) {
  try {
    localStorage.setItem("cl-analyze-theme", theme);
  } catch (refused) { /* this page alone has the theme */ }
}

// ---- colours: on a dark page each colour has a partner, which the page brings along
let partners = {};
const seen = (colour) => (isDark() && partners[String(colour).toLowerCase()]) || colour;
function recoloured(value) {
  if (Array.isArray(value)) return value.map(recoloured);
  if (!value || typeof value !== "object") return value;
  const own = (key, item) => {
    if (typeof item === "string") return /color$/.test(key) ? seen(item) : item;
    // the scale of values beside a colour bar; a matrix, and white at 0, stay as they are
    if (key === "colorscale" && value.type !== "heatmap") return item.map(([at, c]) => [at, seen(c)]);
    return recoloured(item);
  };
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, own(key, item)]));
}

// plotly takes < for markup, and what stands between two $ for LaTeX
const escaped = (text) => (Array.isArray(text) ? text.map(escaped) : String(text)
  .replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/\$/g, "&#36;"));
