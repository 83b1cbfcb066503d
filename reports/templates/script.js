"use strict";
// The page reads without any of this: headings that sort, rows that lead to their details, light and dark.

const button = (text, action) => {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", action);
  return made;
};

// Numbers, then words, then what is empty, whichever way one sorts.
const keyOf = (cell) => {
  const text = (cell?.dataset.value ?? cell?.textContent ?? "").trim();
  const number = Number.parseFloat(text.replaceAll("\u2212", "-").replaceAll(",", ""));
  if (text === "" || text === "\u2013") return { rank: 2 };
  if (Number.isFinite(number) && (cell.dataset.value !== undefined || cell.tagName === "TD")) return { rank: 0, number };
  return { rank: 1, text };
};
const compare = (a, b, sign) => {
  if (a.rank !== b.rank) return a.rank - b.rank;
  if (a.rank === 0) return sign * (a.number - b.number);
  return a.rank === 1 ? sign * a.text.localeCompare(b.text, "en", { numeric: true }) : 0;
};

for (const table of document.querySelectorAll("table[data-sortable]")) {
  const body = table.tBodies[0];
  // A companion, such as the reasons of a failed row, stays below its row.
  const groups = [];
  for (const row of body.rows) {
    if (row.hasAttribute("data-companion")) groups.at(-1).push(row);
    else groups.push([row]);
  }
  const headings = [...table.tHead.rows[table.tHead.rows.length - 1].cells].filter((one) => one.textContent.trim());
  const said = document.createElement("span");
  said.textContent = "Click a heading to sort.";
  const show = (order) => {
    for (const heading of headings) heading.removeAttribute("aria-sort");
    body.append(...order.flat());
  };
  const reset = button("Default order", () => {
    show(groups);
    said.textContent = "In the default order.";
    reset.hidden = true;
  });
  reset.hidden = true;

  for (const heading of headings) {
    const column = heading.cellIndex;
    const sort = button("", () => {
      const isUp = heading.hasAttribute("aria-sort")
        ? heading.getAttribute("aria-sort") === "descending"
        : heading.dataset.first !== "descending";
      const keyed = groups.map((group) => [keyOf(group[0].cells[column]), group]);
      show(keyed.sort(([a], [b]) => compare(a, b, isUp ? 1 : -1)).map(([, group]) => group));
      heading.setAttribute("aria-sort", isUp ? "ascending" : "descending");
      said.textContent = `Sorted by ${sort.textContent.trim()}, ${isUp ? "ascending" : "descending"}.`;
      reset.hidden = false;
    });
    sort.className = "sort";
    sort.append(...heading.childNodes);
    heading.append(sort);
  }
  const line = document.createElement("p");
  line.className = "sorting small";
  line.setAttribute("role", "status");
  line.append(said, " ", reset);
  (table.closest(".scroll") ?? table).before(line);
}

// #row-joint opens the details of joint, however one got there; a row leads where its name does.
const openTarget = () => {
  const details = document.getElementById(location.hash.slice(1))?.closest("details");
  if (!details) return;
  details.open = true;
  const summary = details.querySelector("summary");
  summary.scrollIntoView();
  summary.focus({ preventScroll: true });
};
addEventListener("hashchange", openTarget);
addEventListener("load", openTarget);
document.addEventListener("click", (event) => {
  const link = event.target.closest("tr")?.querySelector("th.name a");
  if (!link || String(getSelection())) return;
  if (!event.target.closest("a")) link.click();
  else if (link.hash === location.hash) openTarget();
});

const root = document.documentElement;
const isDark = () =>
  (root.style.colorScheme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const toggle = button("", () => {
  root.style.colorScheme = isDark() ? "light" : "dark";
  name();
});
const name = () => {
  toggle.textContent = isDark() ? "Light" : "Dark";
};
name();
toggle.className = "theme";
document.querySelector("header").prepend(toggle);
