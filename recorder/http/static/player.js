// Draws how loud a recording is where, marks what has a name, and goes about in it. Without this script the sound plays
// all the same; what was played is told by listen.js.
const stage = document.getElementById("player");
const sound = document.querySelector("audio[data-played]");
const picture = document.getElementById("waveform");
const skip = document.getElementById("skip");
const repeat = document.getElementById("loop");
const length = Number(stage.dataset.milliseconds) / 1000;
const SKIPPED = ["pause", "hold", "not_kept", "silence"];
const STEPS = { ArrowLeft: -5, ArrowDown: -5, ArrowRight: 5, ArrowUp: 5, PageDown: -30, PageUp: 30 }; // seconds
const LEGS = { caller: 23, agent: 77 }; // where each is drawn, of a hundred
const REACH = 21;
const BANDS = { silence: [48, 4], talk_over: [45, 10] }; // from and how high; what the ledger tells goes all the way
const LEAST_LOUD = 32; // of 128: a recording in which nobody speaks is not drawn as if somebody did
const LOOP_LEAST = 0.5; // seconds
const link = document.getElementById("moment-link");
const copy = document.getElementById("copy-link");
const moments = document.querySelectorAll("[data-player] a[data-moment]");
const remark = document.getElementById("remark");
let regions = [];
let loop = null;
let frame = 0; // the next at which `keepUp` looks, while it plays

function shape(name, of) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(of)) made.setAttribute(key, value);
  picture.append(made);
  return made;
}

function clock(seconds) {
  const whole = Math.floor(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

function nameOf(kind) {
  return stage.querySelector(`[data-kind="${kind}"]`).textContent.trim();
}

function go(seconds) {
  sound.currentTime = Math.min(Math.max(seconds, 0), length);
}

function drawRegion(region) {
  const [from, high] = BANDS[region.kind] || [0, 100];
  const wide = region.to_ms - region.from_ms;
  shape("rect", { class: `region ${region.kind}`, x: region.from_ms, width: wide, y: from, height: high });
}

function drawLeg(name, peaks, wide, loudest) {
  const bars = peaks.map((peak, at) => {
    const high = (peak / loudest) * REACH;
    return high ? `M${at * wide} ${LEGS[name] - high}h${wide}v${2 * high}h${-wide}z` : "";
  });
  shape("line", { x1: 0, x2: length * 1000, y1: LEGS[name], y2: LEGS[name] });
  shape("path", { class: name, d: bars.join("") });
}

function list(region) {
  const line = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = `${clock(region.from_ms / 1000)}–${clock(region.to_ms / 1000)} ${nameOf(region.kind)}`;
  button.addEventListener("click", () => go(region.from_ms / 1000));
  line.append(button);
  document.getElementById("regions").append(line);
}

function draw(found) {
  regions = found.regions;
  regions.forEach(drawRegion);
  const loudest = Math.max(LEAST_LOUD, ...found.caller, ...found.agent);
  for (const name of Object.keys(LEGS)) drawLeg(name, found[name], found.window_ms, loudest);
  regions.forEach(list);
  document.getElementById("not-drawn").hidden = found.caller.length > 0;
  document.getElementById("unmarked").hidden = regions.length > 0;
}

function show() {
  const at = sound.currentTime;
  const told = stage.dataset.at.replace("{at}", clock(at)).replace("{length}", clock(length));
  for (const end of ["x1", "x2"]) place.setAttribute(end, at * 1000);
  if (picture.getAttribute("aria-valuetext") === told) return;
  picture.setAttribute("aria-valuenow", Math.floor(at));
  picture.setAttribute("aria-valuetext", told);
  document.getElementById("clock").textContent = told;
  link.href = addressHere();
}

function tenths(seconds) {
  return String(Math.floor(seconds * 10) / 10); // down: a moment behind the end is none
}

// The page, the recording and the moment, or the stretch that is repeated; no listening of anybody's.
function addressHere() {
  const here = new URL(stage.dataset.page, location.href);
  const isLooped = loop && loop.to !== null;
  here.searchParams.set("at", tenths(isLooped ? loop.from : sound.currentTime));
  if (isLooped) here.searchParams.set("until", tenths(loop.to));
  return here.href;
}

async function copyLink() {
  let said = copy.dataset.done;
  try {
    await navigator.clipboard.writeText(addressHere());
  } catch {
    said = copy.dataset.failed;
    link.focus();
  }
  document.getElementById("player-said").textContent = said;
}

function goToComment(event) {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go(Number(event.currentTarget.dataset.moment) / 1000);
}

function markComment(one) {
  shape("path", { class: "comment", d: `M${one.dataset.moment} 0v14` });
  one.addEventListener("click", goToComment);
}

function takeMoment() {
  remark.elements.moment.value = clock(sound.currentTime);
}

// Whoever repeats a stretch hears all of it: nothing is skipped meanwhile.
function follow() {
  const at = sound.currentTime;
  if (loop && loop.to !== null) {
    if (at >= loop.to && !sound.paused) go(loop.from);
  } else if (skip.getAttribute("aria-pressed") === "true" && !sound.paused) {
    const ms = at * 1000;
    const silent = regions.find((one) => SKIPPED.includes(one.kind) && one.from_ms <= ms && ms < one.to_ms - 50);
    if (silent) go(silent.to_ms / 1000);
  }
  show();
}

// A browser tells of the time four times a second, which is a word too late: while it plays each of its pictures is a
// look. In a window that is not seen there are none, and its four a second go on.
function keepUp() {
  follow();
  frame = sound.paused ? 0 : requestAnimationFrame(keepUp);
}

function goByKey(event) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key in STEPS) go(sound.currentTime + STEPS[event.key]);
  else if (event.key === "Home") go(0);
  else if (event.key === "End") go(length);
  else if (event.key === " ") sound.paused ? sound.play() : sound.pause();
  else return;
  event.preventDefault();
}

function goByPointer(event) {
  const box = picture.getBoundingClientRect();
  go(((event.clientX - box.left) / box.width) * length);
}

function setSpeed(event) {
  sound.playbackRate = Number(event.currentTarget.dataset.speed);
  for (const one of stage.querySelectorAll("[data-speed]")) {
    one.setAttribute("aria-pressed", String(one === event.currentTarget));
  }
}

function setLoop() {
  const at = sound.currentTime;
  if (!loop) loop = { from: at, to: null };
  else if (loop.to === null) loop = { from: Math.min(loop.from, at), to: Math.max(loop.from + LOOP_LEAST, at) };
  else loop = null;
  showLoop();
}

function showLoop() {
  repeat.textContent = !loop ? begins : loop.to === null ? repeat.dataset.next : repeat.dataset.last;
  const end = loop ? loop.to ?? loop.from : 0;
  repeated.setAttribute("x", loop ? loop.from * 1000 : 0);
  repeated.setAttribute("width", loop ? Math.max(1, (end - loop.from) * 1000) : 0);
  const said = loop && loop.to !== null ? `${repeat.dataset.said} ${clock(loop.from)}–${clock(loop.to)}` : "";
  document.getElementById("player-said").textContent = said;
}

async function fetched() {
  try {
    const answer = await fetch(stage.dataset.from);
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

picture.setAttribute("viewBox", `0 0 ${Math.max(1, length * 1000)} 100`);
const begins = repeat.textContent;
const { start, until } = stage.dataset;
function stand() {
  if (start) go(Number(start) / 1000);
}
if (sound.readyState > 0) stand();
else sound.addEventListener("loadedmetadata", stand, { once: true });
stage.hidden = false;
const found = await fetched();
if (found) draw(found);
else document.getElementById("player-said").textContent = stage.dataset.failed;
const repeated = shape("rect", { class: "loop", x: 0, width: 0, y: 1, height: 98 });
const place = shape("line", { class: "place", x1: 0, x2: 0, y1: 0, y2: 100 });
if (until) {
  loop = { from: Number(start) / 1000, to: Math.min(Number(until) / 1000, length) };
  showLoop();
}
moments.forEach(markComment);
show();
for (const name of ["timeupdate", "seeking", "seeked"]) sound.addEventListener(name, follow);
sound.addEventListener("play", () => frame || keepUp());
picture.addEventListener("click", goByPointer);
picture.addEventListener("keydown", goByKey);
for (const one of stage.querySelectorAll("[data-speed]")) one.addEventListener("click", setSpeed);
skip.addEventListener("click", () => {
  skip.setAttribute("aria-pressed", String(skip.getAttribute("aria-pressed") !== "true"));
  follow();
});
repeat.addEventListener("click", setLoop);
sound.addEventListener("ended", () => {
  if (!loop || loop.to === null) return;
  go(loop.from);
  sound.play();
});
copy.hidden = false;
copy.addEventListener("click", copyLink);
if (remark) {
  const here = document.getElementById("moment-here");
  here.hidden = false;
  here.addEventListener("click", takeMoment);
  remark.elements.text.addEventListener("focus", () => remark.elements.text.value || takeMoment());
}
