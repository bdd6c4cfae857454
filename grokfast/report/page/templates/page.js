const form = document.getElementById("filter");
const claims = [...document.querySelectorAll("tbody.claim")];
function filter() {
  const wanted = Object.fromEntries(new FormData(form));
  const words = wanted.words.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const claim of claims) {
    const fits = ["figures", "prose", "topic"].every(name => !wanted[name] || claim.dataset[name] === wanted[name]);
    const text = claim.textContent.toLowerCase();
    claim.hidden = !(fits && words.every(word => text.includes(word)));
    shown += !claim.hidden;
  }
  document.getElementById("shown").textContent = `${shown} of ${claims.length} claims`;
}
form.hidden = false;
form.addEventListener("input", filter);
form.addEventListener("submit", event => event.preventDefault());
filter();

// A link to a run, or to anything else that is folded away, opens what it lies in.
function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  if (target) target.scrollIntoView();
}
addEventListener("hashchange", reveal);
if (location.hash) reveal();

const charts = JSON.parse(document.getElementById("charts").textContent);
const views = {};
async function show(details) {
  const name = details.dataset.chart, place = details.querySelector(".vega");
  let width = Math.max(120, place.clientWidth - 90);
  for (let tries = 0; tries < 2; tries++) {
    const sizes = { "@width": width, "@columns": Math.max(2, Math.floor(width / 60)), "@few": Math.max(1, Math.floor(width / 200)) };
    const spec = JSON.parse(JSON.stringify(charts[name]), (key, value) => sizes[value] ?? value);
    views[name]?.finalize();
    views[name] = await draw(place, spec, { actions: false, renderer: "canvas" });
    const over = place.querySelector("canvas").clientWidth - place.clientWidth;
    if (over <= 0) break;
    width -= over;
  }
}
for (const details of document.querySelectorAll("details.chart")) {
  details.addEventListener("toggle", () => details.open && show(details));
}
let timer;
addEventListener("resize", () => {
  clearTimeout(timer);
  timer = setTimeout(() => document.querySelectorAll("details.chart[open]").forEach(show), 200);
});
window.grokfastViews = views;
