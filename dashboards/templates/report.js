(function () {
  "use strict";
  // A figure narrower than this takes its narrow layout; report.css has the same number.
  const NARROW = 560;
  const sources = new Map([...document.querySelectorAll("script[data-chart]")].map((e) => [e.dataset.chart, e]));
  const places = [...sources.keys()].map((id) => document.getElementById(id));
  const palette = JSON.parse(document.getElementById("palette").textContent);
  const tints = Object.keys(palette).filter((colour) => colour.endsWith(","));
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const drawn = new Set();
  let printing = false;

  function recoloured(value) {
    if (typeof value === "string") {
      if (Object.hasOwn(palette, value)) return palette[value];
      const tint = tints.find((start) => value.startsWith(start));
      return tint ? palette[tint] + value.slice(tint.length) : value;
    }
    if (Array.isArray(value)) return value.map(recoloured);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, recoloured(inner)]));
  }

  // At the width of its place, whatever was drawn there before; nothing where the place has no width, folded away.
  function draw(place) {
    const width = place.clientWidth;
    if (!width) return;
    const spec = JSON.parse(sources.get(place.id).textContent);
    const layout = { ...(width < NARROW && spec.narrow ? spec.narrow : spec.layout), width, autosize: false };
    const wells = layout.meta && layout.meta.linked;
    if (wells) {
      for (const trace of spec.data) {
        trace.hoverinfo = "text";
        trace.hovertext = trace.customdata.map((well) => wells[well]);
      }
    }
    const figure = { data: spec.data, layout };
    const { data, layout: drawnLayout } = dark.matches && !printing ? recoloured(figure) : figure;
    Plotly.react(place, data, drawnLayout, {
      displaylogo: false,
      modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"],
      toImageButtonOptions: { filename: place.id, scale: 2 },
    });
    name(place);
    if (wells && !drawn.has(place)) link(place);
    drawn.add(place);
  }

  // Panels of the same wells: what is chosen in one is followed through all; chosen again, everything is shown.
  function link(place) {
    let followed = null;
    const follow = (group, wells) => {
      followed = group === followed ? null : group;
      const chosen = place.data.map((trace) => followed === null ? null :
        trace.customdata.flatMap((well, at) => wells.has(well) ? [at] : []));
      Plotly.restyle(place, { selectedpoints: chosen });
    };
    const members = (group) => new Set(place.data.filter((trace) => trace.legendgroup === group)
      .flatMap((trace) => trace.customdata));
    place.on("plotly_click", (event) => {
      const group = event.points[0].data.legendgroup;
      follow(group, members(group));
    });
    place.on("plotly_legendclick", (event) => {
      const group = event.data[event.curveNumber].legendgroup;
      follow(group, members(group));
      return false;
    });
  }

  // The place says the figure in words, so what is drawn is not read out; its buttons are named.
  function name(place) {
    place.querySelectorAll(".main-svg").forEach((svg) => svg.setAttribute("aria-hidden", "true"));
    place.querySelectorAll(".modebar-btn").forEach((button) => {
      button.setAttribute("aria-label", button.dataset.title || "tool");
    });
  }

  // One figure a turn, in the order of the page: the first stands before the next is begun.
  const waiting = [];
  function drawNext() {
    const place = waiting.shift();
    if (!place) return;
    if (!drawn.has(place)) draw(place);
    setTimeout(drawNext);
  }
  const seen = new IntersectionObserver((entries) => {
    const idle = !waiting.length;
    for (const entry of entries) {
      if (entry.isIntersecting && !drawn.has(entry.target)) waiting.push(entry.target);
    }
    if (idle) drawNext();
  }, { rootMargin: "300px" });
  places.forEach((place) => seen.observe(place));

  function redraw() {
    drawn.forEach(draw);
  }
  let pending = 0;
  addEventListener("resize", () => {
    clearTimeout(pending);
    pending = setTimeout(() => drawn.forEach((place) => {
      if (place.clientWidth && place.clientWidth !== place._fullLayout.width) draw(place);
    }), 150);
  });
  dark.addEventListener("change", redraw);

  // Paper shows everything: what is folded is opened, what was not seen is drawn, all at the width of paper.
  let folded = [];
  addEventListener("beforeprint", () => {
    printing = true;
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((part) => { part.open = true; });
    document.documentElement.classList.add("printing");
    places.forEach(draw);
  });
  addEventListener("afterprint", () => {
    printing = false;
    folded.forEach((part) => { part.open = false; });
    document.documentElement.classList.remove("printing");
    redraw();
  });

  // A link into a folded part opens it.
  function reveal() {
    const target = document.getElementById(location.hash.slice(1));
    if (!target) return;
    for (let part = target; part; part = part.parentElement) {
      if (part.tagName === "DETAILS") part.open = true;
    }
    target.scrollIntoView();
  }
  addEventListener("hashchange", reveal);
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (link && link.hash === location.hash) reveal();
  });
  reveal();
})();
