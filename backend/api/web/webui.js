// What the operator's pages share: building elements (text only, never markup), icons, strips, and what becomes of a session.

import { LumaError } from "./luma.js";

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  send: ["M4 12l16-8-6 16-3-7z"],
  stop: ["M7 7h10v10H7z"],
  mic: ["M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3z", "M6 11a6 6 0 0 0 12 0", "M12 17v4"],
  "mic-off": ["M9 9v2a3 3 0 0 0 5 2", "M15 10V6a3 3 0 0 0-6-1", "M6 11a6 6 0 0 0 9 5", "M12 17v4", "M4 4l16 16"],
  sound: ["M4 10v4h3l5 4V6l-5 4z", "M16 9a4 4 0 0 1 0 6", "M18.5 6.5a8 8 0 0 1 0 11"],
  "sound-off": ["M4 10v4h3l5 4V6l-5 4z", "M16 10l5 5", "M21 10l-5 5"],
  menu: ["M4 7h16", "M4 12h16", "M4 17h16"],
  close: ["M6 6l12 12", "M18 6L6 18"],
  plus: ["M12 5v14", "M5 12h14"],
  pen: ["M4 20l4-1L19 8l-3-3L5 16z"],
  bin: ["M5 7h14", "M9 7V4h6v3", "M7 7l1 13h8l1-13"],
  copy: ["M9 9h11v11H9z", "M5 15H4V4h11v1"],
  play: ["M7 5l12 7-12 7z"],
  check: ["M5 12l5 5 9-10"],
  warn: ["M12 4l9 16H3z", "M12 10v4", "M12 17v.5"],
  info: ["M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z", "M12 11v5", "M12 8v.5"],
  panic: ["M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z", "M12 7v6", "M12 16v.5"],
  resume: ["M7 5l12 7-12 7z"],
  face: ["M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z", "M9 10v.5", "M15 10v.5", "M8 14a5 5 0 0 0 8 0"],
  motion: ["M5 19c4-8 10-4 14-14", "M15 5h4v4"],
  ear: ["M7 10a5 5 0 0 1 10 0c0 4-4 4-4 7a3 3 0 0 1-5 2", "M10 10a2 2 0 0 1 4 0"],
  voice: ["M5 10v4", "M9 7v10", "M13 4v16", "M17 8v8", "M21 11v2"],
  stage: ["M12 3a4 4 0 1 0 0 8 4 4 0 0 0 0-8z", "M5 21a7 7 0 0 1 14 0"],
  down: ["M6 10l6 6 6-6"],
  repeat: ["M5 12a7 7 0 0 1 12-5l2 2", "M19 4v5h-5", "M19 12a7 7 0 0 1-12 5l-2-2", "M5 20v-5h5"],
  star: ["M12 3l2 7 7 2-7 2-2 7-2-7-7-2 7-2z"],
};
const SOLID = new Set(["stop", "play", "resume", "send", "star"]);

/** An element: `el("p", {class: "x", onclick: f}, "text", child)`. A string is text, whatever is in it. */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(made.dataset, value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** A picture of strokes, beside words that say the same. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", SOLID.has(name) ? "icon solid" : "icon");
  for (const line of ICONS[name]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", line);
    svg.append(path);
  }
  return svg;
}

/** Another picture and other words in a button, only where they differ. */
export function setButton(button, iconName, words) {
  const key = `${iconName} ${words}`;
  if (button.dataset.shows === key) return;
  button.dataset.shows = key;
  button.querySelector("svg")?.replaceWith(icon(iconName));
  button.querySelector(".words").textContent = words;
}

/** Who it is as a small round picture; the first letter where there is none. */
export function faceOf(name, url) {
  const letter = el("span", { class: "face", "aria-hidden": "true" }, [...(name || "?")][0].toUpperCase());
  if (!url || !url.startsWith("/")) return letter;
  const image = el("img", { class: "face", alt: "", src: url, decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(letter), { once: true });
  return image;
}

/** A line for the operator, with things to do; `kind` is "warn", "error" or "calm". */
export function strip(kind, words, ...actions) {
  const marks = { warn: "warn", error: "warn", calm: "info" };
  return el("div", { class: `strip ${kind}`, role: kind === "calm" ? "status" : "alert" }, icon(marks[kind]), el("span", {}, words), ...actions);
}

export function action(words, onclick, iconName = null) {
  return el("button", { class: "button", type: "button", onclick }, iconName ? icon(iconName) : null, words);
}

export const timeOf = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

export const seconds = (ms) => (ms < 100 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`);

/**
 * Follow the connection: a quiet banner while it is away, and an explanation when the session has ended.
 *
 * `data-state` of the root element says how it is, as on every page of Luma.
 */
export function followConnection(luma, banner) {
  let timer = 0;
  luma.onState((state, { reason } = {}) => {
    document.documentElement.dataset.state = state;
    clearTimeout(timer);
    if (state === "open") {
      banner.hidden = true;
    } else if (state === "closed" && reason !== undefined) {
      // A moment's absence, as when a computer wakes up, is not worth a word.
      timer = setTimeout(() => {
        banner.textContent = "Luma does not answer. This page tries again by itself; what you write stays here.";
        banner.hidden = false;
      }, 700);
      askWhetherLoggedIn(luma);
    }
  });
}

async function askWhetherLoggedIn(luma) {
  try {
    await luma.get("/api/panic");
  } catch (error) {
    noteFailure(luma, error);
  }
}

/** Whether a failure means that the session is over; then the page says so and asks no more. */
export function noteFailure(luma, error) {
  if (!(error instanceof LumaError) || error.status !== 401) return false;
  luma.close();
  document.documentElement.dataset.state = "signed-out";
  if (!document.querySelector(".out")) {
    const head = el("h1", { tabindex: "-1" }, "You are logged out");
    document.body.append(
      el(
        "div",
        { class: "out", role: "alertdialog", "aria-label": "You are logged out" },
        el(
          "div",
          {},
          head,
          el("p", {}, "This browser's session has ended: somebody chose to log all browsers out, or it is older than 30 days."),
          el("p", {}, "On the computer on which Luma runs, open the menu of its window and choose Web chat or Control panel; or copy the link from there to this device."),
        ),
      ),
    );
    head.focus();
  }
  return true;
}

/** The keys that work everywhere: F12 is panic, as in the window. */
export function panicKey(pressed) {
  addEventListener("keydown", (event) => {
    if (event.key === "F12" && !event.ctrlKey && !event.altKey && !event.shiftKey) {
      event.preventDefault();
      if (!event.repeat) pressed();
    }
  });
}

export { LumaError };
