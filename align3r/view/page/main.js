// The page: controls, time, and one picture after the other, drawn only when something changed.
const by = (id) => document.getElementById(id);
const manifest = JSON.parse(by("manifest").textContent);
const canvas = by("canvas");
const state = { moment: 0, playing: false, follow: false, kind: "image", detail: 1, drawn: 0, fps: 0 };
let scheduled = false, dirty = true, lastFrame = 0, clock = 0, rest = 0;

function fail(message) {
  by("message").textContent = message;
  by("message").hidden = false;
}
window.addEventListener("error", (event) => fail(event.message));
window.addEventListener("unhandledrejection", (event) => fail(event.reason?.message ?? String(event.reason)));

const painter = new Painter(canvas), gl = painter.gl;
const source = manifest.embedded ? new Embedded() : new Served();
const results = manifest.results.map((about, i) => new Result(i, about, source, painter, invalidate, fail));
const first = results[0], two = results.length > 1;
const eye = new Eye(canvas, manifest.view, takeOver, invalidate);

// Whoever drags while following a camera goes on from where that camera is.
function takeOver() {
  if (!state.follow) return;
  const { centre, forward } = first.camera(state.moment, 1);
  eye.eye = sub(centre, times(forward, 0.02));
  eye.target = add(centre, times(forward, first.about.depth));
  follow(false);
}

function invalidate() {
  dirty = true;
  schedule();
}

function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(frame);
}

// The moment of result r that is nearest in time to the moment of the first.
function momentOf(r) {
  if (r === first) return state.moment;
  const { times, start } = r.about, now = first.about.times[state.moment] + first.about.start - start;
  let best = 0;
  for (let i = 1; i < times.length; i++) if (Math.abs(times[i] - now) < Math.abs(times[best] - now)) best = i;
  return best;
}

function kinds() {
  const wanted = ["moving", state.kind];
  if (by("only").checked && first.about.counts.frame) wanted.push("frame");
  if (by("images").checked) wanted.push("image");
  return [...new Set(wanted)];
}

function ready(i) {
  const keep = state.moment;
  state.moment = i;
  const points = kinds().filter((kind) => kind === "moving" || kind === "frame");
  const missing = results.filter((r) => points.some((kind) => !r.moment(kind, momentOf(r))));
  state.moment = keep;
  return missing.length === 0;
}

function advance(now) {
  const { times } = first.about, n = times.length, last = n - 1;
  // A source may give one time to several frames; each is shown for a moment all the same.
  const beat = Math.max(times[last] / Math.max(last, 1), 0.005);
  clock += ((now - lastFrame) / 1000) * Number(by("speed").value);
  while (state.playing) {
    const lasts = state.moment < last ? Math.max(times[state.moment + 1] - times[state.moment], 0.005) : beat;
    if (clock < lasts) return;
    const next = (state.moment + 1) % n;
    // Like any video: time waits for what is not there yet.
    if (!ready(next)) { clock = lasts; return; }
    clock = Math.min(clock - lasts, 4 * beat);
    state.moment = next;
  }
}

function frame(now) {
  scheduled = false;
  const before = state.moment, busy = state.playing || eye.fingers.size > 0;
  if (state.playing && lastFrame) advance(now);
  if (busy && lastFrame) adapt(now - lastFrame);
  lastFrame = busy ? now : 0;
  if (dirty || state.moment !== before) draw(busy ? state.detail : 1);
  dirty = false;
  if (state.playing) schedule();
  else if (busy && state.detail < 1) {
    clearTimeout(rest);
    rest = setTimeout(invalidate, 250);
  }
}

// A slow machine draws fewer points while things move, evenly, and all of them when they rest.
function adapt(gap) {
  state.fps += (1000 / Math.max(gap, 1) - state.fps) * 0.1;
  if (gap > 60) state.detail = Math.max(0.12, state.detail * Math.max(50 / gap, 0.3));
  else if (gap < 30) state.detail = Math.min(1, state.detail * 1.1);
}

function showTexts({ fixed, moving }) {
  const { about } = first, words = (x) => x.toLocaleString("en");
  const loading = results.find((r) => r.loading)?.loading;
  by("count").textContent = `${words(fixed)} static, ${words(moving)} moving points` +
    (loading ? `; loading ${loading} …` : "");
  const seconds = (time) => `${time.toFixed(2)} s`, { times, numbers } = about;
  by("when").textContent =
    `frame ${numbers[state.moment]} · ${seconds(times[state.moment])} of ${seconds(times.at(-1))}`;
  by("time").value = state.moment;
  by("confidenceValue").textContent = (2 ** (by("confidence").value / about.confidence_steps)).toFixed(2);
  const far = about.depth_units * 2 ** ((by("range").value - 128) / about.range_steps);
  by("rangeValue").textContent = by("range").value === by("range").max ? "all" : `${far.toPrecision(2)} ${about.unit}`;
  by("sizeValue").textContent = Number(by("size").value).toFixed(1);
  by("spanValue").textContent = `${by("span").value} frames`;
}

function play(on) {
  state.playing = on && first.steps > 1;
  by("play").textContent = state.playing ? "❚❚" : "▶";
  clock = 0;
  lastFrame = 0;
  invalidate();
}

function show(moment) {
  state.moment = clamp(moment, 0, first.steps - 1);
  clock = 0;
  invalidate();
}

function follow(on) {
  state.follow = on;
  by("follow").classList.toggle("on", on);
  invalidate();
}

function screenshot() {
  draw(1);
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${first.about.name}_${String(first.about.numbers[state.moment]).padStart(6, "0")}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
}

function light() {
  const dark = document.body.classList.toggle("dark");
  document.body.classList.toggle("light", !dark);
  by("light").textContent = dark ? "light" : "dark";
  invalidate();
}

// The names of the results above their windows, `apart` pixels from each other; none for 0.
function labels(apart) {
  const spans = by("names").children;
  results.forEach((r, i) => {
    spans[i].hidden = !apart;
    spans[i].style.left = `${i * apart + 12}px`;
  });
}

function setUp() {
  const { about } = first;
  by("title").textContent = results.map((r) => r.about.name).join(" · ");
  by("time").max = first.steps - 1;
  by("play").disabled = by("time").disabled = first.steps < 2;
  by("confidence").value = about.level;
  by("range").value = by("range").max;
  by("span").max = clamp(first.steps, 10, 300);
  by("span").value = Math.round(1.5 / (about.times.at(-1) / Math.max(first.steps - 1, 1) || 1));
  by("onlyRow").hidden = !about.counts.frame;
  by("layouts").hidden = !two;
  if (two) {
    results.forEach((r, i) => { by("layout").options[2 + i].textContent = `only ${r.about.name}`; });
    by("note").textContent = results[1].about.note;
  }
  document.body.classList.toggle("two", two);
  document.body.classList.toggle("bare", window.innerWidth < 700);
  for (const r of results) {
    by("frames").append(document.createElement("canvas"));
    const label = document.createElement("span");
    label.textContent = r.about.name;
    by("names").append(label);
  }
  for (const input of document.querySelectorAll("#panel input")) input.addEventListener("input", invalidate);
  by("layout").addEventListener("input", () => { labels(0); invalidate(); });
  by("time").addEventListener("input", () => { play(false); show(Number(by("time").value)); });
  by("play").addEventListener("click", () => play(!state.playing));
  by("follow").addEventListener("click", () => follow(!state.follow));
  by("reset").addEventListener("click", () => { follow(false); eye.reset(); });
  by("shot").addEventListener("click", screenshot);
  by("light").addEventListener("click", light);
  by("fold").addEventListener("click", () => {
    document.body.classList.toggle("bare");
    invalidate();
  });
  for (const button of by("kinds").children)
    button.addEventListener("click", () => {
      by("kinds").querySelector(".on").classList.remove("on");
      button.classList.add("on");
      state.kind = button.dataset.kind;
      invalidate();
    });
  window.addEventListener("resize", invalidate);
  window.addEventListener("keydown", onKey);
  canvas.addEventListener("webglcontextlost", () => fail("the graphics card gave up: reload the page"));
  labels(0);
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
  const keys = {
    " ": () => play(!state.playing), ArrowRight: () => show(state.moment + 1),
    ArrowLeft: () => show(state.moment - 1), f: () => follow(!state.follow),
    r: () => by("reset").click(), s: screenshot, h: () => by("fold").click(),
  };
  const does = keys[event.key.length > 1 ? event.key : event.key.toLowerCase()];
  if (!does || (event.target.type === "range" && event.target.id !== "time" && event.key.length > 1)) return;
  event.preventDefault();
  does();
}

setUp();
// For tests and benchmarks, and for whoever opens the console.
window.align3r = { state, results, eye, show, play };
(async () => {
  for (const r of results) await r.loadAll();
})();
play(true);
invalidate();
