// ipywidgets gives a slider no name for screen readers, and tells them the position instead of the value. In an
// explorer, the readout has the value under the name of the control; it is read out as it changes. The readout also says
// which controls are off. Every explorer brings this along, so that it works wherever one is shown: in JupyterLab as on the website. Once a page is enough.
if (!window.describesControls) {
  window.describesControls = true;
  const describe = (part) => {
    const readout = part.querySelector(".explorer-readout");
    readout?.setAttribute("aria-live", "polite");
    const values = {};
    for (const value of readout?.querySelectorAll("strong") ?? []) {
      values[value.previousSibling.textContent.replace("·", "").trim()] = value.textContent;
    }
    const off = JSON.parse(readout?.querySelector("[data-off]")?.dataset.off ?? "[]");
    for (const control of part.querySelectorAll(".widget-slider, .widget-radio")) {
      const name = control.querySelector(".widget-label")?.textContent;
      control.inert = off.includes(name); // it makes no difference now
      control.style.opacity = control.inert ? 0.4 : "";
      const slider = control.querySelector("[role=slider]");
      const radio = control.querySelector(".widget-radio-box");
      const field = control.querySelector(".widget-readout"); // of a slider that takes typed numbers, too
      for (const named of [slider, radio, field]) named?.setAttribute("aria-label", name);
      radio?.setAttribute("role", "radiogroup");
      field?.setAttribute("role", "textbox");
      const value = values[name] ?? field?.textContent;
      if (value) slider?.setAttribute("aria-valuetext", value);
    }
  };
  const describeAll = () => document.querySelectorAll(".explorer, .needs-kernel").forEach(describe);
  new MutationObserver(describeAll).observe(document.body, { childList: true, subtree: true });
}
