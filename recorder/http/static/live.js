// Keeps the list of calls as it is, and says what became of a button without leaving the page. Without this script the
// buttons work all the same, and the list is as old as the page.
"use strict";

const calls = document.getElementById("calls");
const said = document.getElementById("said");
const link = document.getElementById("link");

// Whoever works by keyboard stays where they were: on the same button, or where it is gone on the first of its call.
function show(html) {
  const focused = calls.contains(document.activeElement) ? document.activeElement : null;
  const row = focused && focused.closest("tr");
  calls.innerHTML = html;
  const again = focused && document.getElementById(focused.id);
  const beside = row && document.getElementById(row.id);
  const first = again || (beside && beside.querySelector("button"));
  if (first) first.focus();
}

const changes = new EventSource(calls.dataset.from);
changes.addEventListener("calls", (event) => {
  link.textContent = link.dataset.good;
  show(event.data);
});
changes.addEventListener("over", () => {
  changes.close();
  link.textContent = link.dataset.over;
});
changes.onerror = () => {
  link.textContent = link.dataset.lost;
};

calls.addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const button = event.submitter;
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      headers: { "X-Recorder-Script": "1" },
      body: new URLSearchParams(new FormData(form)),
    });
    said.textContent = await answer.text();
  } catch {
    said.textContent = link.dataset.lost;
  } finally {
    button.removeAttribute("aria-disabled");
  }
});
