// Says which parts of a recording were played, so that the listening log has them too. What was sent is noted without us.
// What could not be told is told again.
"use strict";

const player = document.querySelector("audio[data-played]");
const said = new Set();

function tell() {
  const spans = [];
  for (let at = 0; at < player.played.length; at += 1) {
    const span = [Math.round(player.played.start(at) * 1000), Math.round(player.played.end(at) * 1000)];
    if (span[0] < span[1] && !said.has(span.join())) {
      said.add(span.join());
      spans.push(span);
    }
  }
  if (!spans.length) return;
  const again = () => spans.forEach((span) => said.delete(span.join()));
  fetch(player.dataset.played, {
    method: "POST",
    keepalive: true,
    headers: { "Content-Type": "application/json", "X-Recorder-Stamp": player.dataset.stamp },
    body: JSON.stringify({ spans }),
  }).then((done) => done.status < 500 || again(), again);
}

for (const name of ["pause", "ended", "seeking"]) player.addEventListener(name, tell);
addEventListener("pagehide", tell);
setInterval(tell, 10000);
