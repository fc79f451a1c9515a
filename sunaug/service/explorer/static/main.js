// Joins the parts: which bundle, which scene (kept in the address, so that it can be sent to somebody), the key, the sets.

import { askJson, key } from "./api.js";
import { goesClass } from "./classes.js";
import { Jobs } from "./jobs.js";
import { Sliders } from "./sliders.js";
import { Stage } from "./stage.js";

const START = { seed: 0, forecast: 1e-5, nowcast: 1e-6, steering: {}, truncation: 1 };

let keeping = 0; // browsers allow few changes of the address in a second

const at = (id) => document.getElementById(id);
const stage = new Stage(at("stage"));
const sliders = new Sliders(at("controls"), redraw);
const jobs = new Jobs(at("sets"), refuse);

/** The scene in the address, where it holds one; numbers that it lacks are those of the start. */
function kept() {
  let content = {};
  try {
    content = JSON.parse(decodeURIComponent(location.hash.slice(1))) ?? {};
  } catch {
    // an address without a scene
  }
  const numbers = ["seed", "forecast", "nowcast", "truncation"].filter((name) => Number.isFinite(content[name]));
  const steering = Object.entries(content.steering ?? {}).filter(([, steps]) => Number.isFinite(steps));
  return {
    ...START,
    ...Object.fromEntries(numbers.map((name) => [name, content[name]])),
    bundle: content.bundle,
    steering: Object.fromEntries(steering),
  };
}

function redraw() {
  const { scene } = sliders;
  stage.draw(scene);
  describe(scene);
  clearTimeout(keeping);
  keeping = setTimeout(() => history.replaceState(null, "", `#${encodeURIComponent(JSON.stringify(scene))}`), 300);
}

/** The set that the present scene stands for, in words. */
function describe(scene) {
  const flare = scene.forecast ?? 0;
  const steered = Object.keys(scene.steering).length;
  at("make").disabled = flare <= 0;
  at("ordered").replaceChildren(
    ...(flare > 0
      ? [
          "Samples with a flare of ",
          Object.assign(document.createElement("b"), { textContent: `${goesClass(flare)} or more` }),
          ` in the next 24 hours, from seed ${scene.seed}, ${steered ? "steered as the sliders stand" : "not steered"}.`,
        ]
      : ["A rare set needs a class: move the forecast away from quiet."]),
  );
}

function order() {
  const { scene } = sliders;
  return {
    n: at("n").valueAsNumber,
    rare: true,
    min_class: goesClass(scene.forecast),
    label: "forecast",
    seed: scene.seed,
    steer: { flare: 0, ...scene.steering },
    truncation: scene.truncation,
    bundle: scene.bundle,
    format: at("format").value,
    ungated: at("ungated").checked,
  };
}

function refuse(problem) {
  if (problem.status === 401) return askForKey(problem.message);
  at("refused").textContent = problem.message;
  at("refused").hidden = false;
}

function askForKey(why = "Requests carry this key from now on.") {
  at("key-why").textContent = why;
  if (!at("key-dialog").open) at("key-dialog").showModal();
}

async function choose(name, scene) {
  const controls = await askJson(`/v1/controls/${encodeURIComponent(name)}`);
  sliders.build(controls, scene);
  stage.scene = null;
  stage.pin(null);
  redraw();
}

async function open() {
  try {
    const { bundles, judging } = await askJson("/v1/controls");
    const scene = kept();
    at("bundle").replaceChildren(...bundles.map((name) => new Option(name, name)));
    at("bundle").value = bundles.includes(scene.bundle) ? scene.bundle : bundles[0];
    at("judging").hidden = !judging;
    at("judge-hint").hidden = Boolean(judging);
    if (judging) at("judging").href = judging;
    await choose(at("bundle").value, scene);
    await jobs.refresh();
  } catch (problem) {
    refuse(problem);
  }
}

at("bundle").addEventListener("change", () => choose(at("bundle").value, { ...START, ...sliders.scene }).catch(refuse));
at("stage").addEventListener("problem", ({ detail }) => detail.status === 401 && askForKey(detail.message));
at("order").addEventListener("submit", (event) => {
  event.preventDefault();
  at("refused").hidden = true;
  jobs.make(order()).catch(refuse);
});
at("key").addEventListener("click", () => askForKey());
at("key-cancel").addEventListener("click", () => at("key-dialog").close());
at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(at("key-value").value.trim());
  at("key-value").value = "";
  at("key-dialog").close();
  open();
});

open();
