// Shows the pictures together, hides them when their time is over, and lets the keyboard answer.

const stage = document.getElementById("stage");
const form = document.getElementById("answer");
const status = document.getElementById("status");
const buttons = [...form.querySelectorAll("button")];
const images = [...stage.querySelectorAll("img")];
let shownAt = null;
let sent = false;

function allow(yes) {
  for (const one of buttons) one.disabled = !yes;
}

function hide() {
  for (const one of images) one.remove();
  stage.classList.add("over");
  status.textContent = images.length > 1 ? "The pictures are hidden now. Please answer." : "The picture is hidden now. Please answer.";
}

function show() {
  stage.classList.remove("waiting");
  status.textContent = "";
  allow(true);
  requestAnimationFrame(() => {
    shownAt = performance.now();
    if (stage.dataset.left !== undefined) setTimeout(hide, 1000 * Number(stage.dataset.left));
    fetch(form.dataset.shown, { method: "POST", keepalive: true }).catch(() => {});
  });
}

if (images.length) {
  // All panels appear at once: one that comes late would cost a part of the time.
  stage.classList.add("waiting");
  allow(false);
  Promise.all(images.map((one) => one.decode())).then(show, () => {
    status.textContent = "A picture could not be loaded. Please reload the page.";
  });
} else {
  status.textContent = "The time of this picture is over. Please answer.";
}

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const chosen = buttons.find((one) => one.dataset.keys.split(" ").includes(key));
  if (chosen && !chosen.disabled) {
    event.preventDefault();
    chosen.focus();
  }
});

form.addEventListener("submit", (event) => {
  if (sent) {
    event.preventDefault();
    return;
  }
  sent = true;
  if (shownAt !== null) form.elements.milliseconds.value = String(Math.round(performance.now() - shownAt));
});

// A page that comes back out of the browser's memory is an old question.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.replace("/trial");
});
