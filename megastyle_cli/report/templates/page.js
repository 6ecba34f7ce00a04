// The page reads well without this script; with it one can search and keep one row.

// Without marks and case, so that "Cezanne" finds an accented name.
const plain = (words) => words.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

const textOf = (selector, inside) => plain(all(selector, inside).map((each) => each.textContent).join(" "));

const form = one(".find");
const input = one("#q");
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

function makeChip(row) {
  const chip = document.createElement("button");
  const picture = one(".head .picture", row.element);
  const title = one(".about h2", row.element).textContent;
  chip.type = "button";
  chip.title = title;
  chip.setAttribute("aria-label", `Show only ${title}`);
  if (picture) {
    const copy = picture.cloneNode(true);
    copy.alt = title;
    chip.append(copy);
  } else {
    chip.classList.add("wordy");
    chip.append(title);
  }
  chip.addEventListener("click", () => keep(row));
  return chip;
}

function onKey(event) {
  if (look.open || event.metaKey || event.ctrlKey || event.altKey) return;
  if (event.key === "/" && document.activeElement !== input) {
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
one("#nothing button").addEventListener("click", clear);
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
