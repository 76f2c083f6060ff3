// Keeps the list of calls as it is, and says what became of a button without leaving the page. Without this script the
// buttons work all the same, and the list is as old as the page.
"use strict";

const calls = document.getElementById("calls");
const said = document.getElementById("said");
const link = document.getElementById("link");
const AGAIN_AFTER = 3000; // milliseconds

// Only what differs: whoever listens to the page hears each change of these once.
function tell(where, text) {
  if (where.textContent !== text) where.textContent = text;
}

// Whoever works by keyboard stays where they were: on the same button, or where it is gone on the first of its call, or
// at the list.
function show(html) {
  const focused = calls.contains(document.activeElement) ? document.activeElement : null;
  const row = focused && focused.closest("tr");
  calls.innerHTML = html;
  if (!focused) return;
  const beside = row && document.getElementById(row.id);
  const next = document.getElementById(focused.id) || (beside && beside.querySelector("button")) || calls;
  next.focus();
}

function watch() {
  const changes = new EventSource(calls.dataset.from);
  changes.addEventListener("calls", (event) => {
    tell(link, link.dataset.good);
    calls.classList.remove("old");
    show(event.data);
  });
  changes.addEventListener("over", () => {
    changes.close();
    calls.classList.add("old");
    tell(link, link.dataset.over);
  });
  changes.onerror = () => {
    tell(link, link.dataset.lost);
    calls.classList.add("old");
    // A browser comes again by itself where a connection broke, and not where it was answered by anything but a stream.
    if (changes.readyState === EventSource.CLOSED) setTimeout(watch, AGAIN_AFTER);
  };
}
watch();

function answer(text, good) {
  said.className = good ? "said" : "wrong";
  tell(said, text);
}

calls.addEventListener("submit", async (event) => {
  const form = event.target;
  if (form.method !== "post") return; // a page of its own, which asks again
  event.preventDefault();
  const button = event.submitter;
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  try {
    const done = await fetch(form.action, {
      method: "POST",
      headers: { "X-Recorder-Script": "1" },
      body: new URLSearchParams(new FormData(form)),
    });
    answer(await done.text(), done.ok);
  } catch {
    answer(link.dataset.lost, false);
  } finally {
    button.removeAttribute("aria-disabled");
  }
});
