"use strict";
// Tabs, tips and before|after sliders.  Without this script everything is there, one below another.
document.documentElement.classList.add("js");
for (const tab of document.querySelectorAll("[data-panel]")) {
  tab.addEventListener("click", () => {
    for (const other of document.querySelectorAll("[data-panel]")) {
      const chosen = other === tab;
      other.setAttribute("aria-selected", String(chosen));
      document.getElementById("panel-" + other.dataset.panel).classList.toggle("shown", chosen);
    }
  });
}
const tip = document.createElement("div");
tip.id = "tip";
document.body.append(tip);
function show(event) {
  const owner = event.target.closest("[data-tip]");
  tip.style.display = owner ? "block" : "none";
  if (!owner) return;
  tip.textContent = owner.dataset.tip;
  const box = owner.getBoundingClientRect();
  const x = event.clientX || box.right;
  const y = event.clientY || box.top;
  tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - tip.offsetWidth - 8)) + "px";
  tip.style.top = Math.max(4, Math.min(y + 14, innerHeight - tip.offsetHeight - 8)) + "px";
}
document.addEventListener("pointermove", show);
document.addEventListener("pointerdown", show);
document.addEventListener("focusin", show);
for (const input of document.querySelectorAll(".slider input")) {
  const cut = () => input.parentElement.style.setProperty("--cut", input.value + "%");
  input.addEventListener("input", cut);
  cut();
}
