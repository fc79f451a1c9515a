// The service's addresses. The key stays in this tab (sessionStorage) and goes out in the Authorization header alone.

const KEY = "sunaug-key";

/** What the service said when it did not do what was asked for. */
export class Problem extends Error {
  constructor(status, sentence, wait) {
    super(sentence);
    this.status = status;
    this.wait = wait;
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

function sentence(detail, status) {
  if (typeof detail === "string") return detail;
  if (Array.isArray(detail)) return detail.map((one) => `${one.loc?.slice(1).join(".")}: ${one.msg}`).join("; ");
  return `The service answered ${status}.`;
}

/** Ask the service; a body is sent as JSON. Throws a Problem where the answer is none. */
export async function ask(path, { method = "GET", body } = {}) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  if (key.get()) headers.Authorization = `Bearer ${key.get()}`;
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Problem(0, "The service cannot be reached.");
  }
  if (!answer.ok) {
    const content = await answer.json().catch(() => ({}));
    const wait = Number(answer.headers.get("Retry-After") ?? 0);
    throw new Problem(answer.status, sentence(content.detail, answer.status), wait);
  }
  return answer;
}

export const askJson = async (path, options) => (await ask(path, options)).json();

/** Save a file. Without a key the browser fetches it by itself; with one it has to pass through this page. */
export async function save(path) {
  const link = document.createElement("a");
  if (!key.get()) {
    link.href = path;
    link.download = "";
    link.click();
    return;
  }
  const answer = await ask(path);
  const named = /filename="?([^";]+)/.exec(answer.headers.get("Content-Disposition") ?? "");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = named ? named[1] : path.split("/").at(-2);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
