"use strict";

// Only tiles in sight are in the document: a plane is scrolled, and its tiles come and go.
const data = JSON.parse(one("#styles").textContent);
const plain = (words) => words.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
const styles = data.styles.map(([name, prompt, clusters, place, shades, pictures, facts]) => (
  { name, prompt, clusters, place, shades, pictures, facts, words: plain(`${name} ${prompt}`) }));

const [field, plane, canvas] = ["#field", "#plane", "canvas"].map((name) => one(name));
const margin = 24;
let shown = [];       // numbers of the styles that the filters leave
let places = [];      // of those: left and top, and whether there is room for the picture
let drawn = new Map();
let isMap = data.hasMap;

const clusterColor = ({ clusters }) => (
  clusters.length ? `hsl(${(clusters.at(-1) * 137.5 + 20) % 360} 55% 52%)` : "");
// The fewer styles, the larger: pictures cover at most a twelfth of the map.
const sideOf = () => (isMap
  ? Math.min(110, Math.max(48, Math.sqrt(field.clientWidth * field.clientHeight / styles.length / 12)))
  : Math.min(132, (field.clientWidth - 2 * margin) / 3 - 8));
// By cluster, from the coarsest level down.
const order = [...styles.keys()].sort((one, other) => {
  const [here, there] = [styles[one].clusters, styles[other].clusters];
  for (let level = here.length - 1; level >= 0; level--) {
    if (here[level] !== there[level]) return here[level] - there[level];
  }
  return one - other;
});

// Filters

function filter() {
  const wanted = plain(one("#q").value).split(/\s+/).filter(Boolean);
  const [level, cluster] = (one("#cluster")?.value || " ").split(" ");
  const shade = all(".color").findIndex((button) => button.ariaPressed === "true");
  shown = order.filter((number) => {
    const style = styles[number];
    return wanted.every((word) => style.words.includes(word))
      && (!cluster || style.clusters[level] === Number(cluster))
      && (shade < 0 || style.shades.includes(shade));
  });
  one("#found").textContent = `${shown.length.toLocaleString("en")} of ${styles.length.toLocaleString("en")}`;
  arrange();
}

// Places

function arrange() {
  (isMap ? arrangeMap : arrangeGrid)();
  for (const tile of drawn.values()) tile.remove();
  drawn = new Map();
  draw();
}

function arrangeGrid() {
  const side = sideOf();
  const [width, height] = [side + 8, side + 30];
  const columns = Math.max(1, Math.floor((field.clientWidth - 2 * margin) / width));
  places = shown.map((_, at) => (
    { x: margin + (at % columns) * width, y: margin + Math.floor(at / columns) * height, hasRoom: true }));
  resize(field.clientWidth, Math.ceil(shown.length / columns) * height + 2 * margin);
}

function arrangeMap() {
  const side = sideOf();
  const times = 2 ** Number(one("#zoom").value);
  const [width, height] = [field.clientWidth * times, field.clientHeight * times];
  const ends = [0, 1].map((axis) => styles.reduce(
    ([low, high], { place }) => [Math.min(low, place[axis]), Math.max(high, place[axis])], [Infinity, -Infinity]));
  const at = (value, [low, high], length) => (
    margin + ((value - low) / (high - low || 1)) * (length - side - 2 * margin));
  // Few pictures may cover one another in part; many leave dots where there is no room.
  const gap = styles.length > 300 ? side : side / 2;
  const taken = {};
  places = shown.map((number) => {
    const [x, y] = [at(styles[number].place[0], ends[0], width), at(styles[number].place[1], ends[1], height - 20)];
    // Pictures too near are in this cell or in those beside it.
    const [column, line] = [Math.round(x / gap), Math.round(y / gap)];
    const hasRoom = ![-1, 0, 1].some((dx) => [-1, 0, 1].some((dy) => {
      const other = taken[`${column + dx} ${line + dy}`];
      return other && Math.abs(other.x - x) < gap && Math.abs(other.y - y) < gap;
    }));
    const place = { x, y, hasRoom };
    if (hasRoom) taken[`${column} ${line}`] = place;
    return place;
  });
  resize(width, height);
}

function resize(width, height) {
  plane.style.width = `${Math.floor(width)}px`;
  plane.style.height = `${Math.floor(height)}px`;
}

// Drawing

function draw() {
  const side = sideOf();
  const { scrollLeft: left, scrollTop: top, clientWidth: width, clientHeight: height } = field;
  const ratio = devicePixelRatio;
  canvas.width = width * ratio;
  canvas.height = isMap ? height * ratio : 0;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${isMap ? height : 0}px`;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const inSight = new Set();
  places.forEach(({ x, y, hasRoom }, position) => {
    if (x + side < left || x > left + width || y + side + 30 < top || y > top + height) return;
    const number = shown[position];
    if (hasRoom) return void inSight.add(number) || drawn.has(number) || add(number, x, y, side);
    pen.fillStyle = clusterColor(styles[number]) || "gray";
    pen.beginPath();
    pen.arc(x + side / 2 - left, y + side / 2 - top, 3, 0, 7);
    pen.fill();
  });
  for (const [number, tile] of drawn) {
    if (inSight.has(number)) continue;
    tile.remove();
    drawn.delete(number);
  }
}

function add(number, x, y, side) {
  const style = styles[number];
  const tile = document.createElement("figure");
  const button = document.createElement("button");
  tile.className = "tile";
  Object.assign(tile.style, { left: `${x}px`, top: `${y}px`, width: `${side}px` });
  tile.style.setProperty("--cluster", clusterColor(style) || "transparent");
  Object.assign(button, { type: "button", className: "open", title: style.name });
  button.append(pictureOf(style, 0));
  button.addEventListener("click", () => openAndCopy(number));
  tile.append(button);
  if (side >= 80) tile.append(Object.assign(document.createElement("figcaption"), { textContent: style.name }));
  plane.append(tile);
  drawn.set(number, tile);
}

function pictureOf({ name, pictures }, position) {
  if (!pictures.length) return Object.assign(document.createElement("span"), { className: "text", textContent: name });
  const [bytes, width, height] = pictures[position];
  return Object.assign(new Image(width, height), { className: "picture", alt: name, src: `data:image/webp;base64,${bytes}` });
}

// The close-up

visible = () => shown;
opener = (number) => one(".open", drawn.get(number) ?? field) ?? field;
closeUp = (number) => {
  const style = styles[number];
  const facts = style.facts.flatMap((fact) => fact.map((words, at) => (
    Object.assign(document.createElement(at ? "dd" : "dt"), { textContent: words }))));
  const pictures = style.pictures.length ? style.pictures : [null];
  return { pictures: pictures.map((_, at) => ["", pictureOf(style, at)]), title: style.name, words: style.prompt, facts };
};

function openAndCopy(number) {
  open(number);
  if (styles[number].prompt) copyPrompt().catch(() => {});  // the button is still there
}

// Events

function setView(view) {
  isMap = view === "map";
  one("#map").ariaPressed = String(isMap);
  one("#grid").ariaPressed = String(!isMap);
  one("#zoom").disabled = !isMap;
  field.scrollTo(0, 0);
  arrange();
}

function zoom() {
  const middle = ["Left", "Top"].map((side, at) => {
    const [length, whole] = at ? ["clientHeight", "scrollHeight"] : ["clientWidth", "scrollWidth"];
    return [(field[`scroll${side}`] + field[length] / 2) / field[whole], length, whole];
  });
  arrange();
  field.scrollTo(...middle.map(([share, length, whole]) => share * field[whole] - field[length] / 2));
}

for (const button of all(".color")) {
  button.addEventListener("click", () => {
    const isPressed = button.ariaPressed === "true";
    for (const each of all(".color")) each.ariaPressed = String(each === button && !isPressed);
    filter();
  });
}
let waiting = 0;
field.addEventListener("scroll", () => {
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(draw);
});
one(".find").addEventListener("submit", (event) => event.preventDefault());
one("#q").addEventListener("input", filter);
one("#cluster")?.addEventListener("change", filter);
if (data.hasMap) {
  one("#map").addEventListener("click", () => setView("map"));
  one("#grid").addEventListener("click", () => setView("grid"));
  one("#zoom").addEventListener("input", zoom);
}
addEventListener("resize", arrange);
filter();
