// Everything the report does in a browser. No request leaves the page.

const MOST_MODELS = 4; // 3D views alive at a time: each holds a model and its textures on the GPU
const cards = [...document.querySelectorAll(".pair")];
const main = document.getElementById("pairs");
const controls = Object.fromEntries(["search", "status", "side", "order"].map((id) => [id, document.getElementById(id)]));

const orders = {
  priority: (a, b) => b.dataset.priority - a.dataset.priority,
  trusted: (a, b) => a.dataset.priority - b.dataset.priority,
  name: (a, b) => a.dataset.name.localeCompare(b.dataset.name, undefined, { numeric: true }),
};

function filter() {
  const words = controls.search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const card of cards) {
    const { text, status, side } = card.dataset;
    const fits = words.every((word) => text.includes(word));
    card.hidden = !(fits && [status, ""].includes(controls.status.value) && [side, ""].includes(controls.side.value));
    shown += !card.hidden;
  }
  document.getElementById("shown").value = shown === cards.length ? "" : `${shown} of ${cards.length}`;
}

controls.order.addEventListener("change", () => {
  main.append(...cards.sort(orders[controls.order.value]));
});
for (const id of ["search", "status", "side"]) controls[id].addEventListener("input", filter);

// 3D: unpack the model when it is asked for; the oldest view makes room for a fifth.
const open = [];

async function unpack(base64) {
  const packed = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const model = await new Response(stream).arrayBuffer();
  return URL.createObjectURL(new Blob([model], { type: "model/gltf-binary" }));
}

function close({ stage, viewer, url }) {
  viewer.remove();
  URL.revokeObjectURL(url);
  stage.querySelector("button").hidden = false;
}

async function show(stage) {
  stage.querySelector("button").hidden = true;
  const url = await unpack(document.getElementById(stage.dataset.glb).textContent);
  const viewer = document.createElement("model-viewer");
  const settings = {
    src: url, alt: stage.dataset.alt, "camera-controls": "", "camera-orbit": "0deg 90deg auto", "touch-action": "pan-y",
    "min-camera-orbit": "auto 0deg auto", "max-camera-orbit": "auto 180deg auto", "interaction-prompt": "none",
    "shadow-intensity": "0", "environment-image": "neutral", "tone-mapping": "neutral", exposure: "0.82",
  };
  for (const [name, value] of Object.entries(settings)) viewer.setAttribute(name, value);
  const target = document.createElement("i"); // the viewer's own, in its middle, would swallow a drag that starts there
  target.slot = "pan-target";
  target.style.pointerEvents = "none";
  viewer.append(target);
  stage.append(viewer);
  open.push({ stage, viewer, url });
  if (open.length > MOST_MODELS) close(open.shift());
}

// Comparing, turning, zooming.
function turn(table, share) {
  const frames = Number(table.dataset.frames);
  const frame = Math.min(frames - 1, Math.max(0, Math.floor(share * frames)));
  table.dataset.frame = frame;
  table.firstElementChild.style.transform = `translateX(${(-100 * frame) / frames}%)`;
}

const zoom = document.getElementById("zoom");
zoom.addEventListener("click", () => zoom.close());

for (const stage of document.querySelectorAll(".stage")) stage.querySelector("button").addEventListener("click", () => show(stage));
for (const slider of document.querySelectorAll(".compare input"))
  slider.addEventListener("input", () => slider.parentElement.style.setProperty("--cut", `${slider.value}%`));
for (const table of document.querySelectorAll(".turntable")) {
  table.addEventListener("pointermove", (event) => {
    const box = table.getBoundingClientRect();
    turn(table, (event.clientX - box.left) / box.width);
  });
  table.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const frames = Number(table.dataset.frames);
    turn(table, (((Number(table.dataset.frame ?? 0) + step + frames) % frames) + 0.5) / frames);
  });
}
for (const image of document.querySelectorAll(".zoom"))
  image.addEventListener("click", () => {
    zoom.firstElementChild.src = image.src;
    zoom.showModal();
  });
