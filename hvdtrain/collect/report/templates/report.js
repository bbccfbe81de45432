"use strict";
(() => {
  const said = document.getElementById("said");

  // A cell's exact value, or what it shows: "11560 (37)" sorts as 11560, an empty cell last.
  const keyOf = (row, column, isNumber) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    if (!isNumber) return text;
    const number = Number.parseFloat(text);
    return Number.isNaN(number) ? text : number;
  };

  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return a.localeCompare(b, "en", { numeric: true });
  };

  const sort = (head, direction) => {
    const body = head.closest("table").tBodies[0];
    const isNumber = head.classList.contains("number");
    const sign = direction === "ascending" ? 1 : -1;
    const keyed = [...body.rows].map((row) => [keyOf(row, head.cellIndex, isNumber), row]);
    keyed.sort(([a], [b]) => (a === "") - (b === "") || sign * compare(a, b));
    body.append(...keyed.map(([, row]) => row));
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", direction);
  };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("th button");
    if (!button) return;
    const head = button.parentElement;
    const up = head.getAttribute("aria-sort") === "ascending";
    sort(head, up ? "descending" : "ascending");
    said.textContent = `Sorted by ${button.textContent}, ${head.getAttribute("aria-sort")}`;
  });

  // A link to a run opens it.
  const openTarget = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const run = target?.closest("details");
    if (run) {
      run.open = true;
      run.scrollIntoView();
      run.querySelector("summary").focus({ preventScroll: true });
    }
  };
  addEventListener("hashchange", openTarget);
  openTarget();

  const { state, seconds } = document.documentElement.dataset;
  if (state === undefined) return;

  // A live page: what is open, sorted and focused stays so when the content is replaced.
  const live = document.getElementById("live");
  let shown = state;

  const replaceContent = (page) => {
    const content = document.getElementById("content");
    const open = [...content.querySelectorAll("details[open]")].map(pathOf);
    const sorted = [...content.querySelectorAll("th[aria-sort]")].map((head) => [
      head.closest("table").id, head.cellIndex, head.getAttribute("aria-sort"),
    ]);
    const focused = content.contains(document.activeElement) ? pathOf(document.activeElement) : null;
    content.replaceChildren(...document.adoptNode(page.getElementById("content")).childNodes);
    for (const path of open) find(path)?.setAttribute("open", "");
    for (const [table, column, direction] of sorted) {
      const head = document.getElementById(table)?.tHead.rows[0].cells[column];
      if (head) sort(head, direction);
    }
    if (focused) find(focused)?.focus({ preventScroll: true });
  };

  // An element by its nearest id and its place among the like below it: runs may come in between.
  const pathOf = (element) => {
    const anchor = element.closest("[id]");
    const like = [...anchor.querySelectorAll(element.tagName)];
    return [anchor.id, element.tagName, like.indexOf(element)];
  };
  const find = ([id, tag, index]) => {
    const anchor = document.getElementById(id);
    return index < 0 ? anchor : anchor?.querySelectorAll(tag)[index];
  };

  const look = async () => {
    try {
      const answer = await fetch("state", { cache: "no-store" });
      if (!answer.ok) throw new Error(answer.statusText);
      const now = await answer.text();
      if (now !== shown) {
        const text = await (await fetch(location.pathname, { cache: "no-store" })).text();
        const page = new DOMParser().parseFromString(text, "text/html");
        replaceContent(page);
        shown = page.documentElement.dataset.state;
      }
      live.textContent = `Live: looked at ${new Date().toLocaleTimeString()}.`;
    } catch {
      live.textContent = "No longer live: the server does not answer.";
    }
    setTimeout(look, 1000 * Number(seconds));
  };
  setTimeout(look, 1000 * Number(seconds));
})();
