// ---- tables: a button in each head sorts by its column, the best value first where one is better
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
      const before = head.getAttribute("aria-sort");
      const up = before ? before !== "ascending" : head.dataset.better !== "higher";
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
