// ---- tables: a click on a head sorts by its column, the better side first
document.querySelectorAll("table.sortable").forEach((table) => {
  const heads = Array.from(table.querySelectorAll("thead th"));
  heads.forEach((head, column) => {
    const name = head.textContent.trim();
    if (!name) return;
    const better = head.dataset.better;
    const words = (up) => !better ? (up ? "ascending" : "descending")
      : up === (better === "lower") ? "best first" : "worst first";
    const first = better !== "higher";
    const sort = document.createElement("button");
    sort.className = "sort";
    sort.type = "button";
    sort.textContent = "⇅";
    sort.setAttribute("aria-label", "sort by " + name + ", " + words(first));
    head.append(sort);
    head.addEventListener("click", (event) => {
      if (event.target.closest("a")) return;
      const now = head.getAttribute("aria-sort");
      const up = now ? now !== "ascending" : first;
      heads.forEach((other) => {
        other.removeAttribute("aria-sort");
        const mark = other.querySelector(".sort");
        if (mark) mark.textContent = "⇅";
      });
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      sort.textContent = words(up);
      sort.setAttribute("aria-label", "sort by " + name + ", " + words(!up));
      const body = table.tBodies[0];
      const key = (row) => {
        const cell = row.cells[column];
        const value = cell.dataset.v ?? cell.textContent.trim();
        return value !== "" && !isNaN(value) ? Number(value) : value;
      };
      const rank = (value) => (value === "" || value === "–" ? 2 : typeof value === "number" ? 0 : 1);
      const fixed = (row) => ("fixed" in row.dataset ? 0 : 1);
      Array.from(body.rows).map((row, i) => [key(row), i, row]).sort((a, b) => {
        const kind = fixed(a[2]) - fixed(b[2]) || rank(a[0]) - rank(b[0]);
        if (kind) return kind;
        const less = typeof a[0] === "number" ? a[0] - b[0]
          : String(a[0]).localeCompare(String(b[0]), undefined, { numeric: true });
        return (up ? less : -less) || a[1] - b[1];
      }).forEach((entry) => body.append(entry[2]));
    });
  });
});

// ---- all numbers: only the rows that have every word of the filter
function filterNumbers() {
  const field = document.querySelector(".filter input");
  if (!field) return;
  const said = document.querySelector(".filter output");
  const tables = Array.from(document.querySelectorAll("#number-tables details"));
  const before = new Map(tables.map((table) => [table, table.open]));
  const rows = tables.map((table) => Array.from(table.querySelectorAll("tbody tr")));
  const texts = rows.map((of) => of.map((row) =>
    Array.from(row.cells).slice(0, 4).map((cell) => cell.textContent).join(" ").toLowerCase()));
  let isFiltered = false;
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    tables.forEach((table, at) => {
      let shown = 0;
      rows[at].forEach((row, i) => {
        row.hidden = !words.every((word) => texts[at][i].includes(word));
        if (!row.hidden) shown++;
      });
      count += shown;
      if (words.length && !isFiltered) before.set(table, table.open);
      table.hidden = !shown;
      table.open = words.length ? shown > 0 : before.get(table);
    });
    isFiltered = words.length > 0;
    said.textContent = isFiltered ? count + (count === 1 ? " number" : " numbers") : "";
  });
}
filterNumbers();

// ---- a link to what is in a closed box opens the box
function openTarget() {
  const target = document.getElementById(location.hash.slice(1));
  const box = target && target.closest("details");
  if (box) box.open = true;
}
window.addEventListener("hashchange", openTarget);
openTarget();
