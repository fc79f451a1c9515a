// The sliders of a bundle: native range inputs, with what each of them changes written below.

import { HIGHEST, LOWEST, STEP, TICKS, fluxAt, goesClass, placeOf } from "./classes.js";

const FARTHEST = 4; // standard deviations
const CONDITIONS = { forecast_flux: "forecast", nowcast_flux: "nowcast" };

const signed = (value, digits) => (value < 0 ? "−" : value > 0 ? "+" : "") + Math.abs(value).toFixed(digits);

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** One slider with its name, its value in words and a line below. */
function slider({ id, title, aside = "", below = "", min, max, step, value, words, rest = () => false, far = () => false, ticks = [] }) {
  const input = element("input", { type: "range", id, min, max, step, value });
  const output = element("output");
  output.htmlFor = id;
  const label = element("label", { htmlFor: id }, title);
  if (aside) label.append(" ", element("small", {}, aside));
  const box = element("div", { className: "slider" }, element("div", {}, label, output), input);
  if (ticks.length) {
    box.append(element("div", { className: "ticks" }, ...ticks.map((one) => element("span", {}, one))));
    box.lastChild.setAttribute("aria-hidden", "true");
  }
  if (below) {
    box.append(element("p", { id: `${id}-what` }, below));
    input.setAttribute("aria-describedby", `${id}-what`);
  }
  const show = () => {
    output.value = words(input.valueAsNumber);
    output.classList.toggle("rest", rest(input.valueAsNumber));
    output.classList.toggle("far", far(input.valueAsNumber));
    input.setAttribute("aria-valuetext", output.value);
  };
  input.addEventListener("input", show);
  show();
  const put = (place) => {
    input.value = place;
    show();
  };
  return { box, input, put };
}

function conditionSlider(condition, flux) {
  const [title, what] = condition.title.split(": ");
  return slider({
    id: condition.name,
    title,
    aside: what,
    below: `The bundle has seen up to ${condition.strongest_class}.`,
    min: LOWEST,
    max: HIGHEST,
    step: STEP,
    value: placeOf(flux),
    words: (place) => goesClass(fluxAt(place)),
    far: (place) => fluxAt(place) > condition.strongest * 1.0001,
    ticks: TICKS,
  });
}

function directionSlider(direction, rare) {
  const changes = direction.changes.map((one) => `${one.measure} ${signed(one.change, 2)}`).join(" · ");
  const explained = direction.explained === null ? "" : `${(100 * direction.explained).toFixed(1)} % of the variance`;
  return slider({
    id: direction.name,
    title: direction.title,
    aside: direction.name === "flare" && rare !== null ? `rare samples take ${signed(rare, 2)}` : explained,
    below: changes,
    min: -FARTHEST,
    max: FARTHEST,
    step: 0.1,
    value: 0,
    words: (steps) => (steps ? signed(steps, 1) : "0"),
    rest: (steps) => steps === 0,
  });
}

/** All sliders of a bundle; `changed` is called whenever one of them moves. */
export class Sliders {
  constructor(form, changed) {
    this.form = form;
    this.seed = form.querySelector("#seed");
    this.conditions = {};
    this.directions = {};
    form.addEventListener("input", changed);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.querySelector("#another").addEventListener("click", () => {
      this.seed.value = Math.floor(Math.random() * 1e6);
      changed();
    });
    form.querySelector("#reset").addEventListener("click", () => {
      Object.values(this.directions).forEach((one) => one.put(0));
      this.truncation.put(1);
      changed();
    });
  }

  /** Build the sliders anew for a bundle, at the places of a scene. */
  build(controls, scene) {
    this.bundle = controls.bundle;
    const named = (all, make) => Object.fromEntries(all.map((one) => [one.name, make(one)]));
    this.conditions = named(controls.conditions, (one) => conditionSlider(one, scene[CONDITIONS[one.name]]));
    this.directions = named(controls.directions, (one) => directionSlider(one, controls.rare_steps));
    this.truncation = slider({
      id: "truncation",
      title: "Truncation",
      below: "0: the mean of the condition · 1: samples as they are · above: further out than samples go",
      min: 0,
      max: 1.5,
      step: 0.05,
      value: scene.truncation,
      words: (psi) => psi.toFixed(2),
      rest: (psi) => psi === 1,
    });
    for (const [name, one] of Object.entries(this.directions)) one.put(scene.steering[name] ?? 0);
    this.seed.value = scene.seed;
    const place = (id, all) => this.form.querySelector(id).replaceChildren(...all.map((one) => one.box));
    place("#conditions", Object.values(this.conditions).toReversed()); // the forecast first
    place("#directions", Object.values(this.directions));
    place("#sample", [this.truncation]);
    this.form.querySelector("#unmeasured").hidden = controls.directions.every((one) => one.changes.length);
  }

  /** The scene that the sliders describe. */
  get scene() {
    const steering = Object.entries(this.directions).map(([name, one]) => [name, one.input.valueAsNumber]);
    const fluxes = Object.entries(this.conditions).map(([name, one]) => [
      CONDITIONS[name],
      fluxAt(one.input.valueAsNumber),
    ]);
    return {
      bundle: this.bundle,
      seed: Math.min(Math.max(Math.floor(Number(this.seed.value)) || 0, 0), Number.MAX_SAFE_INTEGER),
      ...Object.fromEntries(fluxes),
      steering: Object.fromEntries(steering.filter(([, steps]) => steps)),
      truncation: this.truncation.input.valueAsNumber,
    };
  }
}
