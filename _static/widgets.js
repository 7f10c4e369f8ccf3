// ipywidgets' embed.js, which draws once the page has loaded, typesets labels through MathJax 2's queue. These pages
// have MathJax 3, a deferred script, so it is there at this event.
document.addEventListener("DOMContentLoaded", () => {
  const mathjax = window.MathJax;
  if (mathjax) {
    mathjax.Hub = {
      Queue: ([, , element]) => mathjax.startup.promise.then(() => mathjax.typesetPromise([element])),
    };
  }
});

// ipywidgets gives a slider no name for screen readers, and tells them the position instead of the value. In an
// explorer (course_lib/widgets), the readout has the value under the name of the control; it is read out as it changes.
const describeControls = (explorer) => {
  const values = {};
  for (const value of explorer.querySelectorAll(".explorer-readout strong")) {
    values[value.previousSibling.textContent.replace("·", "").trim()] = value.textContent;
  }
  for (const control of explorer.querySelectorAll(".widget-slider, .widget-radio")) {
    const name = control.querySelector(".widget-label").textContent;
    const slider = control.querySelector("[role=slider]");
    const target = slider || control.querySelector(".widget-radio-box");
    target.setAttribute("aria-label", name);
    if (slider) slider.setAttribute("aria-valuetext", values[name]);
    else target.setAttribute("role", "radiogroup");
  }
  explorer.querySelector(".explorer-readout").setAttribute("aria-live", "polite");
};
document.addEventListener("DOMContentLoaded", () => {
  const describeAll = () => document.querySelectorAll(".explorer:has(.explorer-readout)").forEach(describeControls);
  new MutationObserver(describeAll).observe(document.body, { childList: true, subtree: true });
});
