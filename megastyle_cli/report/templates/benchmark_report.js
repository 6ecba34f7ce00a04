"use strict";

// The value of each style by two systems, chosen in the form; styles of equal values share a dot.
const points = one("#points") && JSON.parse(one("#points").textContent);

function drawScatter() {
  const [left, below] = ["#left", "#below"].map((name) => Number(one(name).value));
  const [up, across] = [points.values[left], points.values[below]];
  const places = new Map();
  points.styles.forEach((name, style) => {
    const key = `${across[style]} ${up[style]}`;
    places.set(key, [...(places.get(key) ?? []), name]);
  });
  const dots = [...places].map(([key, names]) => {
    const [x, y] = key.split(" ").map(Number);
    const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    title.textContent = `${names.slice(0, 12).join(", ")}${names.length > 12 ? ", ..." : ""}: `
      + `${(100 * y).toFixed(1)} and ${(100 * x).toFixed(1)}`;
    for (const [name, value] of [["cx", `${100 * x}%`], ["cy", `${100 - 100 * y}%`],
      ["r", 3 + 2 * Math.sqrt(names.length)]]) dot.setAttribute(name, value);
    dot.append(title);
    return dot;
  });
  all("#scatter circle").forEach((dot) => dot.remove());
  one("#scatter").append(...dots);
  const better = up.filter((value, style) => value > across[style]).length;
  const worse = up.filter((value, style) => value < across[style]).length;
  one("#better").textContent = `${points.systems[left]} is better in ${better} styles, `
    + `${points.systems[below]} in ${worse}; ${up.length - better - worse} are equal`;
}

if (points && one("#scatter")) {
  for (const name of ["#left", "#below"]) one(name).addEventListener("change", drawScatter);
  drawScatter();
}
