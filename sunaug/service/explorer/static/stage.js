// The pictures: the Sun of the sliders, a pinned one beside it, and their difference.

import { askJson } from "./api.js";
import { goesClass } from "./classes.js";

const rest = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** Draws scenes, one request at a time: while one is under way, only the latest of the others is kept. */
class Painter {
  constructor(show, fail) {
    this.show = show;
    this.fail = fail;
    this.wanted = null;
    this.busy = false;
  }

  async draw(request) {
    this.wanted = request;
    if (this.busy) return;
    this.busy = true;
    while (this.wanted) {
      const now = this.wanted;
      this.wanted = null;
      try {
        this.show(await askJson("/v1/preview", { method: "POST", body: now }), now);
      } catch (problem) {
        if (problem.status === 429) {
          this.wanted ??= now;
          await rest(1000 * Math.max(problem.wait, 1));
        } else this.fail(problem);
      }
    }
    this.busy = false;
  }
}

function figure(picture, words) {
  const made = document.createElement("figure");
  const image = Object.assign(new Image(), { src: `data:image/png;base64,${picture.png}`, alt: words });
  const caption = document.createElement("figcaption");
  caption.textContent = picture.label;
  made.append(image, caption);
  return made;
}

function row(name, title, pictures) {
  const made = document.createElement("div");
  made.className = "row";
  made.dataset.row = name;
  const suns = document.createElement("div");
  suns.className = "suns";
  suns.style.setProperty("--columns", pictures.length);
  suns.append(...pictures.map((one) => figure(one, `SYNTHETIC Sun, ${title.textContent}, in ${one.label}`)));
  made.append(title, suns);
  return made;
}

function paragraph(...children) {
  const made = document.createElement("p");
  made.append(...children);
  return made;
}

/** What a scene is, in a line. */
export function words(scene) {
  const steps = Object.entries(scene.steering).map(
    ([name, value]) => `${name.replace("component=", "component ")} ${value > 0 ? "+" : "−"}${Math.abs(value)}`,
  );
  const fluxes = ["forecast", "nowcast"].filter((name) => name in scene).map((name) => `${name} ${goesClass(scene[name])}`);
  const pulled = scene.truncation === 1 ? [] : [`truncation ${scene.truncation}`];
  return [`seed ${scene.seed}`, ...fluxes, ...steps, ...pulled].join(", ");
}

function differenceTitle(limit) {
  const scale = document.createElement("span");
  scale.className = "scale";
  scale.setAttribute("aria-hidden", "true");
  const share = Math.round(100 * limit);
  return paragraph(`Difference, now minus pinned: −${share} %`, scale, `+${share} % of the colour table`);
}

export class Stage {
  constructor(root) {
    this.root = root;
    this.rows = root.querySelector("#rows");
    this.modes = root.querySelector("#modes");
    this.scene = null;
    this.pinned = null;
    this.shown = null;
    this.painter = new Painter(
      (preview, request) => this.#show(preview, request),
      (problem) => this.#fail(problem),
    );
    root.querySelector("#pin").addEventListener("click", () => this.pin(this.shown));
    root.querySelector("#unpin").addEventListener("click", () => this.pin(null));
    this.modes.addEventListener("change", () => this.draw(this.scene));
  }

  get #difference() {
    return this.pinned !== null && this.modes.querySelector(":checked").value === "difference";
  }

  /** Draw a scene as soon as the one before it is there. */
  draw(scene) {
    this.scene = scene;
    this.painter.draw(this.#difference ? { ...scene, minus: this.pinned.scene } : scene);
  }

  /** Keep a Sun to compare with; null lets it go. */
  pin(shown) {
    this.pinned = shown;
    this.modes.hidden = this.root.querySelector("#unpin").hidden = shown === null;
    if (this.scene) this.draw(this.scene);
  }

  #show(preview, { minus, ...scene }) {
    this.shown = { scene, preview };
    const made = [row("now", paragraph(this.pinned ? "Now: " : "", words(scene)), preview.pictures)];
    if (preview.difference) {
      made.push(row("difference", differenceTitle(preview.difference.limit), preview.difference.pictures));
    } else if (this.pinned) {
      made.push(row("pinned", paragraph("Pinned: ", words(this.pinned.scene)), this.pinned.preview.pictures));
    }
    this.rows.replaceChildren(...made);
    this.rows.classList.toggle("two", made.length > 1);
    this.#say(preview.reading);
    this.root.querySelector("#problem").hidden = true;
    this.root.dataset.drawn = Number(this.root.dataset.drawn ?? 0) + 1;
  }

  #say(reading) {
    const place = this.root.querySelector("#reading");
    place.hidden = reading === null;
    if (reading === null) return;
    const fluxes = Object.entries(reading.goes_class).map(([name, text]) => `${name.replace("_flux", "")} ${text}`);
    const like = reading.distance <= 1 ? "as near to real frames as they are to each other" : "far from all real frames";
    place.textContent = `The critic reads ${fluxes.reverse().join(", ")}; ${like} (distance ${reading.distance.toFixed(2)}, limit 1).`;
  }

  #fail(problem) {
    const place = this.root.querySelector("#problem");
    place.textContent = problem.message;
    place.hidden = false;
    this.root.dispatchEvent(new CustomEvent("problem", { detail: problem }));
  }
}
