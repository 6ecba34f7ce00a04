"use strict";

// The page reads well without this script; with it one can search, keep one row, and look closer.
const one = (selector, inside = document) => inside.querySelector(selector);
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];

// Without marks and case, so that "Cezanne" finds an accented name.
const plain = (words) => words.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

const textOf = (selector, inside) => plain(all(selector, inside).map((each) => each.textContent).join(" "));

const form = one(".find");
const input = one("#q");
const look = one("#look");
const rows = all(".row").map((element) => {
  const about = textOf(".about h2, .about .words", element);
  const tiles = all(".tile", element).map((tile) => ({
    element: tile,
    words: `${about} ${textOf(".title, .words, .text, dd", tile)}`,
  }));
  return { element, tiles, about, key: element.dataset.key, chip: null };
});
const total = rows.reduce((sum, row) => sum + row.tiles.length, 0);
let kept = null; // the key of the only row to show

// Search

function show() {
  const wanted = plain(input.value).split(/\s+/).filter(Boolean);
  const matches = (words) => wanted.every((word) => words.includes(word));
  let found = 0;
  let rowsLeft = 0;
  for (const row of rows) {
    const isKept = kept === null || row.key === kept;
    let inRow = 0;
    for (const tile of row.tiles) {
      tile.element.hidden = !(isKept && matches(tile.words));
      inRow += !tile.element.hidden;
    }
    row.element.hidden = !inRow && !(isKept && matches(row.about));
    rowsLeft += !row.element.hidden;
    found += inRow;
    for (const button of [row.chip, one("button.head", row.element)]) {
      button?.setAttribute("aria-pressed", String(row.key === kept));
    }
  }
  one("#found").textContent = found === total ? `${total} shown` : `${found} of ${total}`;
  one("#nothing").hidden = rowsLeft > 0;
}

function remember() {
  const state = new URLSearchParams();
  if (input.value) state.set("q", input.value);
  if (kept !== null) state.set("row", kept);
  history.replaceState(null, "", `#${state}`);
}

function restore() {
  const state = new URLSearchParams(location.hash.slice(1));
  input.value = state.get("q") ?? "";
  kept = rows.some((row) => row.key === state.get("row")) ? state.get("row") : null;
  show();
}

function keep(row) {
  kept = row.key === kept ? null : row.key;
  show();
  remember();
  // Rows above come and go: without this the row one pressed would jump out of sight.
  if (kept === null) row.element.scrollIntoView();
  else scrollTo(0, 0);
}

function clear() {
  input.value = "";
  kept = null;
  show();
  remember();
}

// A picture is copied from the page, so that its bytes stand in the file once.
const copyOf = (element) => element.cloneNode(true);

// The whole picture, where the page shows a square of it.
function uncropped(picture) {
  const copy = copyOf(picture);
  if (copy.width) copy.style.aspectRatio = `${copy.getAttribute("width")} / ${copy.getAttribute("height")}`;
  return copy;
}

function makeChip(row) {
  const chip = document.createElement("button");
  const picture = one(".head .picture", row.element);
  const title = one(".about h2", row.element).textContent;
  chip.type = "button";
  chip.title = title;
  chip.setAttribute("aria-label", `Show only ${title}`);
  if (picture) {
    const copy = copyOf(picture);
    copy.alt = title;
    chip.append(copy);
  } else {
    chip.classList.add("wordy");
    chip.append(title);
  }
  chip.addEventListener("click", () => keep(row));
  return chip;
}

// A closer look

const visible = () => all(".tile:not([hidden])", one("main")).filter((tile) => !tile.closest("[hidden]"));
let current = null;

function reference(row) {
  const told = document.createElement("div");
  const named = document.createElement("p");
  named.className = "named";
  named.textContent = one(".about h2", row).textContent;
  told.append(copyOf(one(".kind", row)), named);
  return [uncropped(one(".head .picture", row)), told];
}

function open(tile) {
  const row = tile.closest(".row");
  const tiles = visible();
  const position = tiles.indexOf(tile);
  const head = one(".head .picture", row);
  current = tile;
  one(".seen").replaceChildren(uncropped(one(".picture, .text", tile)));
  one("#look-title").textContent = one(".title", tile).textContent;
  one(".words", look).textContent = one(".words", tile).textContent;
  one(".reference").replaceChildren(...(head ? reference(row) : []));
  one(".facts", look).replaceChildren(...all(".facts > *", tile).map(copyOf));
  one(".place").textContent = `${position + 1} of ${tiles.length}`;
  // Not `disabled`: that would take the focus away from under the reader's finger.
  one(".previous").setAttribute("aria-disabled", String(position === 0));
  one(".next").setAttribute("aria-disabled", String(position === tiles.length - 1));
  if (!look.open) look.showModal();
  look.scrollTop = 0;
}

function step(by) {
  const tiles = visible();
  const next = tiles[tiles.indexOf(current) + by];
  if (next) open(next);
}

function onKey(event) {
  if (event.metaKey || event.ctrlKey || event.altKey) return;
  if (look.open) {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) {
      event.preventDefault();
      step(by);
    }
  } else if (event.key === "/" && document.activeElement !== input) {
    event.preventDefault();
    input.focus();
    input.select();
  } else if (event.key === "Escape") {
    clear();
  }
}

for (const row of rows) {
  if (rows.length > 1 && one(".about h2", row.element)) {
    row.chip = makeChip(row);
    one(".chips").append(row.chip);
  }
  one("button.head", row.element)?.addEventListener("click", () => keep(row));
}
for (const button of all(".open")) button.addEventListener("click", () => open(button.closest(".tile")));
one(".previous").addEventListener("click", () => step(-1));
one(".next").addEventListener("click", () => step(1));
one(".close").addEventListener("click", () => look.close());
one("#nothing button").addEventListener("click", clear);
look.addEventListener("click", (event) => event.target === look && look.close());
look.addEventListener("close", () => one(".open", current).focus());
form.addEventListener("submit", (event) => event.preventDefault());
input.addEventListener("input", () => {
  show();
  remember();
});
addEventListener("keydown", onKey);
addEventListener("hashchange", restore);

form.hidden = false;
one(".chips").hidden = rows.length < 2;
restore();
