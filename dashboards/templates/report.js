(function () {
  "use strict";
  var options = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"] };
  var charts = document.querySelectorAll('script[type="application/json"][data-chart]');
  charts.forEach(function (source) {
    var spec = JSON.parse(source.textContent);
    var target = document.getElementById(source.dataset.chart);
    Plotly.newPlot(target, spec.data, spec.layout, Object.assign({}, options, { toImageButtonOptions: { filename: target.id, scale: 2 } }));
  });
  // Paper is narrower than most windows: redraw to its width, and back.
  matchMedia("print").addEventListener("change", function () {
    charts.forEach(function (source) { Plotly.Plots.resize(source.dataset.chart); });
  });
})();
