// Keeps the list of calls as it is, and says what became of a button without leaving the page. Without this script the
// buttons work all the same, and the list is as old as the page.
"use strict";

const calls = document.getElementById("calls");
const said = document.getElementById("said");
const link = document.getElementById("link");

function show(html) {
  const focused = document.activeElement && document.activeElement.id;
  calls.innerHTML = html;
  const again = focused && document.getElementById(focused);
  if (again) again.focus();
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
  button.disabled = true;
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
    button.disabled = false;
  }
});
