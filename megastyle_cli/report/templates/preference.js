"use strict";

const one = (selector) => document.querySelector(selector);
const all = (selector) => [...document.querySelectorAll(selector)];
const data = JSON.parse(one("#data").textContent);
const item = new Map(data.items.map((each) => [each.id, each]));
const questions = {
  style: "Which picture is closer to this one in style?",
  prompt: "Which picture shows this?",
};
const block = 10;     // tasks of one question in a row
let voter = "";
let tasks = [];       // [item, question], in this voter's order
let votes = new Map();
let at = 0;
let since = 0;

// FNV-1a, 32 bits, with the final mixing of MurmurHash3: sides and order depend on nothing else.
function hash(words) {
  let found = 2166136261;
  for (const byte of new TextEncoder().encode(words)) found = Math.imul(found ^ byte, 16777619);
  for (const [shift, factor] of [[16, 2246822507], [13, 3266489909]]) found = Math.imul(found ^ (found >>> shift), factor);
  return (found ^ (found >>> 16)) >>> 0;
}

// The number of the picture on the left: a repeated comparison has its sides exchanged.
function leftOf({ id, repeats }) {
  return repeats ? 1 - hash(`${voter} ${repeats}`) % 2 : hash(`${voter} ${id}`) % 2;
}

function ordered() {
  const of = (question) => data.items
    .filter((each) => each.questions.includes(question))
    .map((each) => [hash(`${voter} ${question} ${each.id}`), each.id, question])
    .sort(([one, a], [other, b]) => one - other || (a < b ? -1 : 1))
    .map(([, id, name]) => [id, name]);
  const [styles, prompts] = [of("style"), of("prompt")];
  const found = [];
  for (let start = 0; start < Math.max(styles.length, prompts.length); start += block) {
    found.push(...styles.slice(start, start + block), ...prompts.slice(start, start + block));
  }
  return found;
}

// Progress, kept in this browser for each voter and page

const place = () => `megastyle ${data.page} ${voter}`;

function keep() {
  try {
    localStorage.setItem(place(), JSON.stringify([...votes]));
  } catch {}  // a browser that keeps nothing: the votes can still be saved
}

function remembered() {
  try {
    return new Map(JSON.parse(localStorage.getItem(place()) || "[]"));
  } catch {
    return new Map();
  }
}

// Voting

const keyOf = ([id, question]) => `${id} ${question}`;
const source = (id) => `data:image/webp;base64,${data.pictures[id]}`;

function show(name) {
  for (const main of all("main")) main.hidden = main.id !== name;
}

function draw() {
  if (at >= tasks.length) return show("end");
  const [id, question] = tasks[at];
  const { pictures, reference, prompt } = item.get(id);
  const left = leftOf(item.get(id));
  one("#question").textContent = questions[question];
  one("#reference").hidden = question !== "style";
  one("#prompt").hidden = question !== "prompt";
  if (question === "style") one("#reference").src = source(reference);
  one("#prompt").textContent = question === "prompt" ? prompt : "";
  one("#left").src = source(pictures[left]);
  one("#right").src = source(pictures[1 - left]);
  one("#progress").max = tasks.length;
  one("#progress").value = at;
  one("#place").textContent = `${at + 1} of ${tasks.length}`;
  one("#back").disabled = at === 0;
  show("vote");
  since = performance.now();
}

function choose(choice) {
  const [id, question] = tasks[at];
  const ms = Math.round(performance.now() - since);
  votes.set(keyOf(tasks[at]), { item: id, question, left: leftOf(item.get(id)), choice, ms });
  keep();
  at += 1;
  draw();
}

function back() {
  if (at > 0) {
    at -= 1;
    draw();
  }
}

function votesFile() {
  return JSON.stringify({
    format: "megastyle votes", version: 1, page: data.page, voter,
    saved: new Date().toISOString(), votes: [...votes.values()],
  }, null, 1);
}

function save() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([votesFile()], { type: "application/json" }));
  link.download = `votes-${data.page}-${voter}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

one("#voter").value = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => (
  "abcdefghjkmnpqrstuvwxyz23456789"[byte % 31])).join("");
one("#who").addEventListener("submit", (event) => {
  event.preventDefault();
  voter = one("#voter").value;
  tasks = ordered();
  votes = remembered();
  at = tasks.findIndex((task) => !votes.has(keyOf(task)));
  if (at < 0) at = tasks.length;
  draw();
});
for (const button of all("[data-choice]")) {
  button.addEventListener("click", () => choose(button.dataset.choice));
}
one("#back").addEventListener("click", back);
one("#again").addEventListener("click", back);
one("#save").addEventListener("click", save);
one("#save-all").addEventListener("click", save);
document.addEventListener("keydown", (event) => {
  if (one("#vote").hidden || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const choice = { 1: "left", 2: "right", 0: "tie", x: "neither", X: "neither" }[event.key];
  if (choice) choose(choice);
  if (event.key === "Backspace") back();
});
