import { ask, forget, Refusal, Silence } from "./server.js";

// The photos of this page, sent some at a time and followed until they have a place.
//   photo.stage   new, sending, or one of the app's: waiting, reading, candidates, ranking, done, failed
//   photo.shown   {entry, towns, files} once it is done
//   photo.problem why it failed, photo.retry whether it may be located another time

const [AT_ONCE, PAUSE, SILENT_PAUSE] = [2, 400, 2000];
const RESTING = ["new", "sending", "done", "failed"];

export class Photos {
  // `onChange(photo)` whenever something is new of one, `onSilence(is)` when the app stops or starts to answer.
  constructor(onChange, onSilence) {
    [this.onChange, this.onSilence] = [onChange, onSilence];
    [this.all, this.sending, this.silent, this.notBefore] = [[], 0, false, 0];
    addEventListener("pagehide", () => this.all.forEach((photo) => photo.job && forget(photo.job)));
    this.follow();
  }

  add(file, fields, mostBytes) {
    const photo = { file, fields, name: file.name || "pasted photo", stage: "new" };
    if (file.size > mostBytes) {
      Object.assign(photo, { stage: "failed", problem: `it is larger than ${Math.round(mostBytes / 2 ** 20)} MB` });
    }
    this.all.push(photo);
    this.onChange(photo);
    this.send();
    return photo;
  }

  again(photo) {
    this.change(photo, { stage: "new", problem: null, retry: false, job: null });
    this.send();
  }

  remove(photo) {
    this.all.splice(this.all.indexOf(photo), 1);
    photo.isGone = true;
    if (photo.job) forget(photo.job);
  }

  change(photo, values) {
    Object.assign(photo, values);
    if (!photo.isGone) this.onChange(photo);
  }

  async send() {
    if (this.silent || Date.now() < this.notBefore || this.sending >= AT_ONCE) return;
    const photo = this.all.find(({ stage }) => stage === "new");
    if (!photo) return;
    this.sending += 1;
    this.change(photo, { stage: "sending", isFull: false });
    this.send();
    const body = new FormData();
    for (const [name, value] of photo.fields) body.append(name, value);
    body.append("photo", photo.file, photo.name);
    await this.answered(photo, async () => {
      const { id, stage, before } = await ask("jobs", { method: "POST", body });
      if (photo.isGone) forget(id);
      // One that has ended by now is looked at like any other: only that says its place, or why it has none.
      else this.change(photo, { job: id, stage: RESTING.includes(stage) ? "waiting" : stage, before });
    });
    this.sending -= 1;
    this.send();
  }

  // What goes wrong with `request` belongs to the photo, or to all of them.
  async answered(photo, request) {
    try {
      await request();
      this.hear(true);
    } catch (error) {
      if (error instanceof Silence) {
        this.hear(false);
        if (photo.stage === "sending") this.change(photo, { stage: "new" });
      } else if (error instanceof Refusal) {
        this.hear(true);
        if (error.retryAfter && photo.stage === "sending") {
          this.notBefore = Date.now() + 1000 * Math.min(error.retryAfter, 10);
          this.change(photo, { stage: "new", isFull: true });
        } else {
          const isForgotten = error.status === 404;
          const retry = isForgotten || error.mayPass;
          this.change(photo, { stage: "failed", problem: error.message, retry, job: isForgotten ? null : photo.job });
        }
      } else throw error;
    }
  }

  hear(answers) {
    if (this.silent !== answers) return;
    this.silent = !answers;
    this.onSilence(this.silent);
  }

  async follow() {
    for (;;) {
      for (const photo of this.all.filter(({ stage }) => !RESTING.includes(stage))) {
        await this.answered(photo, () => this.look(photo));
        if (this.silent) break;
      }
      if (this.silent && !this.all.some(({ stage }) => !RESTING.includes(stage))) await this.knock();
      this.send();
      await new Promise((done) => setTimeout(done, this.silent ? SILENT_PAUSE : PAUSE));
    }
  }

  async look(photo) {
    const { stage, before, error, retry } = await ask(`jobs/${photo.job}`);
    if (stage === "failed") this.change(photo, { stage, problem: error, retry });
    else if (stage === "done") this.change(photo, { stage, shown: await ask(`jobs/${photo.job}/shown`) });
    else if (stage !== photo.stage || before !== photo.before) this.change(photo, { stage, before });
  }

  async knock() {
    try {
      await ask("health");
      this.hear(true);
    } catch {
      // It stays silent.
    }
  }
}
