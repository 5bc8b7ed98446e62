"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const plots = [...document.querySelectorAll(".plot")];
  const hidden = new Set();
  const view = { axis: "step", smoothing: 0, logarithmic: false };
  const fewPoints = 40;  // such as those of evaluations: each counts
  const units = [["s", 1, 120], ["min", 60, 7200], ["h", 3600, 172800], ["d", 86400, Infinity]];
  const config = {
    responsive: true,
    displaylogo: false,
    showSendToCloud: false,
    plotlyServerURL: "",
    modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
  };

  /** Exponential moving average, corrected for its beginning; gaps stay gaps. */
  function smooth(values, weight) {
    let sum = 0, norm = 0;
    return values.map((value) => {
      if (value === null) return null;
      sum = weight * sum + (1 - weight) * value;
      norm = weight * norm + (1 - weight);
      return sum / norm;
    });
  }

  function chooseUnit(traces) {
    const last = Math.max(0, ...traces.map((t) => t.meta.times.reduce((a, b) => Math.max(a, b ?? 0), 0)));
    return units.find(([, , limit]) => last < limit);
  }

  function abscissas(trace, unit) {
    if (view.axis === "epoch") return trace.meta.epochs;
    if (view.axis === "time") return trace.meta.times.map((t) => (t === null ? null : t / unit[1]));
    return trace.meta.steps;
  }

  function drawn(trace, unit) {
    const x = abscissas(trace, unit);
    if (!view.smoothing || trace.y.length <= fewPoints) return [{ ...trace, x }];
    const smoothed = { ...trace, x, y: smooth(trace.y, view.smoothing) };
    if (trace.meta.stacked) return [smoothed];
    const pale = { ...trace, x, opacity: 0.2, hoverinfo: "skip", line: { ...trace.line, width: 1 } };
    return [pale, smoothed];
  }

  function draw(plot, figure) {
    const shown = figure.data.filter((trace) => !hidden.has(trace.meta.run));
    const unit = chooseUnit(shown);
    const title = view.axis === "time" ? `time (${unit[0]})` : view.axis;
    const layout = structuredClone(figure.layout);
    layout.autosize = true;
    layout.xaxis.title.text = title;
    const isStacked = figure.data.some((trace) => trace.meta.stacked);
    if (view.logarithmic && !isStacked) layout.yaxis.type = "log";
    plot.closest(".chart").hidden = isStacked && shown.length === 0;
    return Plotly.react(plot, shown.flatMap((trace) => drawn(trace, unit)), layout, config);
  }

  function drawAll() {
    return Promise.all(plots.map((plot) => draw(plot, figures[plot.dataset.figure])));
  }

  function press(buttons, chosen) {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button === chosen));
  }

  const runs = [...document.querySelectorAll(".run")];
  for (const button of runs) {
    const run = Number(button.dataset.run);
    button.addEventListener("click", () => {
      if (hidden.has(run)) hidden.delete(run);
      else hidden.add(run);
      button.setAttribute("aria-pressed", String(!hidden.has(run)));
      drawAll();
    });
    button.addEventListener("dblclick", () => {
      hidden.clear();
      for (const other of runs) if (other !== button) hidden.add(Number(other.dataset.run));
      press(runs, button);
      drawAll();
    });
  }
  const axes = [...document.querySelectorAll("[data-axis]")];
  for (const button of axes) {
    button.addEventListener("click", () => {
      view.axis = button.dataset.axis;
      press(axes, button);
      drawAll();
    });
  }
  const slider = document.getElementById("smoothing");
  slider.addEventListener("input", () => {
    view.smoothing = Number(slider.value);
    document.getElementById("weight").value = view.smoothing.toFixed(2);
    drawAll();
  });
  const logarithmic = document.getElementById("logarithmic");
  logarithmic.addEventListener("change", () => {
    view.logarithmic = logarithmic.checked;
    drawAll();
  });
  drawAll().then(() => { document.body.dataset.drawn = String(plots.length); });
})();
