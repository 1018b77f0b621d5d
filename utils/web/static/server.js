// What the app answers, or why it does not.

export class Refusal extends Error {
  constructor(text, status, retryAfter) {
    super(text);
    [this.status, this.retryAfter] = [status, retryAfter];
  }

  // Whether the app failed, or the network was slow, and not the photo.
  get mayPass() {
    return this.status >= 500 || this.status === 408;
  }
}

// Nobody answers: the app was stopped, or the network is gone.
export class Silence extends Error {}

export async function ask(path, options = {}) {
  let response, text;
  try {
    response = await fetch(`api/${path}`, { ...options, redirect: "error" });
    text = await response.text();
  } catch {
    throw new Silence("the app does not answer");
  }
  if (response.ok) return response.headers.get("content-type")?.includes("json") ? JSON.parse(text) : text;
  throw new Refusal(said(text, response.status), response.status, Number(response.headers.get("retry-after")) || null);
}

function said(text, status) {
  try {
    return JSON.parse(text).error;
  } catch {
    return `the app answers with ${status}`;
  }
}

// Also while the page goes away.
export function forget(job) {
  fetch(`api/jobs/${job}`, { method: "DELETE", keepalive: true }).catch(() => {});
}
