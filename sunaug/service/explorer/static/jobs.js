// Sets that were filed, how far they have come, and what can be done with them.

import { ask, askJson, save } from "./api.js";

const SOON = 1000;
const LATER = 15_000;
const ACTIVE = ["queued", "running"];
const VERDICTS = {
  passed: "passed the gate",
  refused: "refused by the gate",
  unknown: "the gate cannot tell",
  ungated: "done, without the gate",
  unjudged: "could not be judged",
};

function button(text, action) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: text });
  made.className = text === "Download" ? "" : "secondary outline";
  made.addEventListener("click", action);
  return made;
}

function text(name, content) {
  return Object.assign(document.createElement(name), { textContent: content });
}

function what({ n, request, format }) {
  const kind = request.rare ? `${request.min_class} or more` : "plain";
  return `${n} × ${kind}, seed ${request.seed}, ${request.bundle ?? ""} ${format}`;
}

const MARKS = { failed: "✗", unknown: "?", passed: "✓" };

/** What the gate measured, as `sunaug evaluate` lists it: failed checks first, then those that are unknown. */
function fidelity(gate) {
  const checks = Object.entries(gate.checks);
  const by = (state) => checks.filter(([, check]) => check.state === state);
  const details = document.createElement("details");
  const counts = ["passed", "failed", "unknown"].map((state) => `${by(state).length} ${state}`);
  details.append(text("summary", `Fidelity report: gating checks ${counts.join(", ")}`));
  const table = document.createElement("table");
  const line = (cells, name) => {
    const made = document.createElement("tr");
    made.append(...cells.map((cell) => text(name, cell)));
    return made;
  };
  table.append(line(["", "check", "samples", "real", "limit", "role"], "th"));
  const number = (value) => (value === null ? "" : String(Number(value.toPrecision(3))));
  for (const [state, mark] of Object.entries(MARKS)) {
    for (const [name, check] of by(state)) {
      const figures = [check.value, check.floor, check.limit].map(number);
      table.append(line([mark, name, ...figures, check.role], "td"));
    }
  }
  const box = Object.assign(document.createElement("div"), { className: "scroll" });
  box.append(table);
  details.append(box);
  return details;
}

function state(job) {
  if (job.state === "running") return `${job.done} of ${job.n} samples`;
  if (job.state === "done") return VERDICTS[job.gate?.verdict] ?? "done";
  return job.state === "queued" ? "waits for its turn" : "failed";
}

function kind(job) {
  if (job.state !== "done") return job.state;
  return job.download ? "passed" : "refused";
}

export class Jobs {
  constructor(root, fail) {
    this.root = root;
    this.fail = fail;
    this.timer = 0;
    this.items = new Map();
    this.active = new Set();
    document.addEventListener("visibilitychange", () => document.hidden || this.refresh());
  }

  /** File a set. */
  async make(request) {
    await ask("/v1/batches", { method: "POST", body: request });
    await this.refresh();
  }

  /** Show the sets as they are now, and look again: soon while one is being made. */
  async refresh() {
    clearTimeout(this.timer);
    try {
      const { batches } = await askJson("/v1/batches");
      this.#show(batches);
      const soon = batches.some((job) => ACTIVE.includes(job.state));
      if (!document.hidden) this.timer = setTimeout(() => this.refresh(), soon ? SOON : LATER);
    } catch (problem) {
      this.fail(problem);
    }
  }

  #show(batches) {
    const content = JSON.stringify(batches);
    if (content === this.content) return;
    this.content = content;
    this.#say(batches);
    const items = batches.map((job) => {
      const before = this.items.get(job.id);
      const now = JSON.stringify(job);
      return before?.now === now ? [job.id, before] : [job.id, { now, item: this.#item(job) }];
    });
    this.items = new Map(items);
    const focused = document.activeElement?.dataset?.action;
    this.root.querySelector("#jobs").replaceChildren(...items.map(([, { item }]) => item));
    if (focused) this.root.querySelector(`[data-action="${focused}"]`)?.focus();
    this.root.querySelector("#none").hidden = batches.length > 0;
  }

  /** Tell those who do not see the list when a set has come to its end. */
  #say(batches) {
    const ended = batches.filter((job) => !ACTIVE.includes(job.state) && this.active.has(job.id));
    if (ended.length) this.root.querySelector("#said").textContent = ended.map((job) => `${what(job)}: ${state(job)}`).join(". ");
    this.active = new Set(batches.filter((job) => ACTIVE.includes(job.state)).map((job) => job.id));
  }

  #item(job) {
    const item = document.createElement("li");
    item.className = kind(job);
    item.dataset.state = job.state;
    const head = Object.assign(document.createElement("div"), { className: "head" });
    head.append(text("b", what(job)), text("span", state(job)), this.#actions(job));
    item.append(head);
    if (ACTIVE.includes(job.state)) {
      const bar = Object.assign(document.createElement("progress"), { max: job.n, value: job.done });
      bar.setAttribute("aria-label", `${job.done} of ${job.n} samples`);
      item.append(bar);
    }
    const sentence = job.error ?? job.gate?.sentence;
    if (sentence) item.append(text("p", sentence));
    if (job.gate?.account) item.append(text("p", `Samples: ${job.gate.account}.`));
    if (Object.keys(job.gate?.checks ?? {}).length) item.append(fidelity(job.gate));
    return item;
  }

  #actions(job) {
    const actions = Object.assign(document.createElement("div"), { className: "actions" });
    const add = (name, action) => {
      const made = button(name, async () => {
        try {
          await action();
        } catch (problem) {
          this.fail(problem);
        }
      });
      made.dataset.action = `${name}-${job.id}`;
      actions.append(made);
    };
    if (job.download) add("Download", () => save(job.download));
    add(ACTIVE.includes(job.state) ? "Cancel" : "Delete", async () => {
      await ask(`/v1/batches/${job.id}`, { method: "DELETE" });
      await this.refresh();
    });
    return actions;
  }
}
