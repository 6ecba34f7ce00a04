"use strict";

// The close-up of every page: what an image was made from, beside the image.
const one = (selector, inside = document) => inside.querySelector(selector);
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];

const look = one("#look");
let current = null;

// The tiles that can be looked at, in order.
let visible = () => all(".tile").filter((tile) => !tile.closest("[hidden]"));

// What the close-up shows of a tile: elements with a label each, then words.
let closeUp = (tile) => {
  const row = tile.closest(".row");
  const name = row && one(".about h2", row)?.textContent;
  const kinds = row ? all(".head .kind", row).map((each) => each.textContent) : [];
  const heads = row ? all(".head .picture", row) : [];
  // each style of a mix has its own name and share
  const labels = heads.length === 1 && name ? [`${kinds[0]}: ${name}`] : kinds;
  return {
    pictures: [
      ["content", one(".content .picture", tile)],
      ...heads.map((head, at) => [labels[at], head]),
      ...all(".beside", tile).map((each) => [one("span", each).textContent, one(".picture", each)]),
      ["result", one(".open > .picture, .open > .text", tile)],
    ],
    title: one(".title", tile).textContent,
    words: one(".words", tile)?.textContent || (row && one(".about .words", row)?.textContent) || "",
    facts: all(".facts > *", tile).map((each) => each.cloneNode(true)),
  };
};

// What has the focus once the close-up is closed.
let opener = (tile) => one(".open", tile);

// A picture is copied from the page, so that its bytes stand in the file once; whole, where the
// page shows a square of it.
function framed(label, picture) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const copy = picture.cloneNode(true);
  const [width, height] = ["width", "height"].map((side) => picture.getAttribute(side));
  if (width) copy.style.aspectRatio = `${width} / ${height}`;
  caption.textContent = label;
  figure.append(copy, caption);
  return figure;
}

function open(tile) {
  const tiles = visible();
  const position = tiles.indexOf(tile);
  const { pictures, title, words, facts } = closeUp(tile);
  const shown = pictures.filter(([, picture]) => picture);
  current = tile;
  if (shown.length === 1) shown[0][0] = "";
  one(".seen").replaceChildren(...shown.map(([label, picture]) => framed(label, picture)));
  one("#look-title").textContent = title;
  one(".words", look).textContent = words;
  one(".facts", look).replaceChildren(...facts);
  one(".copy").hidden = !words;
  one(".note").textContent = "";
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
  if (next !== undefined) open(next);
}

// Rejected where the browser does not allow the clipboard.
async function copyPrompt() {
  const copied = current;
  await navigator.clipboard.writeText(one(".words", look).textContent);
  if (copied === current) one(".note").textContent = "Prompt copied";
}

function selectPrompt() {
  getSelection().selectAllChildren(one(".words", look));
  one(".note").textContent = document.execCommand("copy") ? "Prompt copied" : "Press Ctrl+C";
}

for (const button of all(".open")) button.addEventListener("click", () => open(button.closest(".tile")));
one(".copy").addEventListener("click", () => copyPrompt().catch(selectPrompt));
one(".previous").addEventListener("click", () => step(-1));
one(".next").addEventListener("click", () => step(1));
one(".close").addEventListener("click", () => look.close());
look.addEventListener("click", (event) => event.target === look && look.close());
look.addEventListener("close", () => opener(current)?.focus());
look.addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!by || event.metaKey || event.ctrlKey || event.altKey) return;
  event.preventDefault();
  step(by);
});
