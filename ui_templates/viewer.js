// The 3D page of one revision. Nothing turns by itself: a reviewer compares views.

const viewer = document.querySelector("model-viewer");
const heat = document.getElementById("heat");
const parts = { hand: "skin", object: "photo" }; // button -> name of its material in scene.glb

const pressed = (button) => button.getAttribute("aria-pressed") === "true";
const toggle = (button) => button.setAttribute("aria-pressed", String(!pressed(button)));

function showParts() {
  for (const button of document.querySelectorAll("[data-part]")) {
    const material = viewer.model?.getMaterialByName(parts[button.dataset.part]);
    if (!material) continue;
    const shown = pressed(button);
    material.setAlphaMode(shown ? "OPAQUE" : "MASK"); // what is masked away neither shows nor hides anything
    material.pbrMetallicRoughness.setBaseColorFactor([1, 1, 1, shown ? 1 : 0]);
  }
  document.getElementById("legend").hidden = !pressed(heat);
}

for (const button of document.querySelectorAll("[data-part]"))
  button.addEventListener("click", () => {
    toggle(button);
    showParts();
  });

// Where the camera was dragged to is not in the attributes; without this another model is looked at from the start,
// and an attribute set to the value it has already moves nothing.
async function keepCamera() {
  viewer.cameraOrbit = viewer.getCameraOrbit().toString();
  viewer.cameraTarget = viewer.getCameraTarget().toString();
  viewer.fieldOfView = `${viewer.getFieldOfView()}deg`;
  await viewer.updateComplete;
}

let dragged = false;
viewer.addEventListener("camera-change", (event) => {
  dragged ||= event.detail.source === "user-interaction";
});

heat.addEventListener("click", async () => {
  toggle(heat);
  if (dragged) await keepCamera();
  viewer.src = pressed(heat) ? viewer.dataset.heat : viewer.dataset.plain;
});

for (const button of document.querySelectorAll("[data-orbit]"))
  button.addEventListener("click", async () => {
    await keepCamera();
    viewer.cameraOrbit = button.dataset.orbit;
    viewer.cameraTarget = "auto auto auto";
    viewer.fieldOfView = "auto";
    dragged = false;
  });

viewer.addEventListener("load", showParts);
viewer.addEventListener("error", () => {
  const problem = document.getElementById("problem");
  problem.textContent = "This browser cannot show the model: it needs WebGL and the connection to hoi-annotate.";
  problem.hidden = false;
});

document.getElementById("alone").hidden = window.top === window;
