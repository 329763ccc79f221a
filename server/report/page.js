"use strict";
// Draws the report. Names come from a model's file: they are only ever put in as text.

const report = JSON.parse(document.getElementById("report").textContent);
const layers = report.layers ?? [];
const byId = (id) => document.getElementById(id);

// --- Elements ------------------------------------------------------------------------------------

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}
const make = (tag, attributes, ...children) =>
  fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

function bar(className, left, width) {
  const part = make("i", className ? { class: className } : {});
  part.style.left = `${100 * left}%`;
  part.style.width = `${100 * Math.max(0, Math.min(1, width))}%`;
  return part;
}
const meter = (share) => make("div", { class: "meter" }, bar("", 0, share));

// --- Numbers -------------------------------------------------------------------------------------

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const decibels = (value) => (isNumber(value) ? `${value.toFixed(1)} dB` : "–");
const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;
const seconds = (value) => (value < 1 ? `${(1000 * value).toFixed(value < 0.01 ? 1 : 0)} ms`
  : `${value.toFixed(value < 10 ? 2 : 1)} s`);
const short = (value) => (isNumber(value) ? String(Number(value.toPrecision(4))) : "–");
function scaled(value, unit, step = 1000) {
  const prefixes = ["", "k", "M", "G", "T"];
  let power = 0;
  for (; Math.abs(value) >= step && power < prefixes.length - 1; ++power) value /= step;
  const digits = power === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${prefixes[power]}${unit}`.trim();
}
const bytes = (value) => scaled(value, "B");
const ending = (text, most = 34) => (text.length > most ? `…${text.slice(1 - most)}` : text);

// --- Rows of bars --------------------------------------------------------------------------------

// rows: {label, title, value, text, left, width, kind, chosen}; left and width are shares.
function drawRows(container, rows, none) {
  container.replaceChildren(...rows.map((row) => make("div",
    { class: `row${row.chosen ? " chosen" : ""}` },
    make("span", { class: "label", title: row.title ?? row.label }, ending(row.label)),
    make("span", { class: "track" }, bar(row.kind ?? "", row.left ?? 0, row.width)),
    make("span", { class: "number" }, row.text))));
  if (rows.length === 0) container.append(make("p", { class: "muted" }, none));
}

// --- Headline ------------------------------------------------------------------------------------

function card(title, value, note, extra) {
  return make("div", {}, make("dt", {}, title), make("dd", { class: "value" }, value),
    extra ? make("dd", {}, extra) : null, note ? make("dd", { class: "note" }, note) : null);
}

function drawHeadline() {
  const { summary, accuracy, calibration, model, host, tool, memory } = report;
  byId("model").textContent = model ? model.path.split("/").pop() : "Quantized model";
  byId("origin").textContent = [
    model && model.path, model && `sha256 ${model.sha256.slice(0, 16)}…`,
    model && `opset ${model.opset}`, host && `${host.isa}, ${host.cores} cores`,
    host && `oneDNN ${host.onednn}`, tool && `Octet ${tool.version}`,
    report.recipe && `recipe ${report.recipe.name}`,
    report.transforms.length > 0 && report.transforms.join(", "),
  ].filter(Boolean).join(" · ");
  const share = summary.weight_bytes_float32 ? summary.weight_bytes / summary.weight_bytes_float32 : 0;
  const target = accuracy.max_drop ?? accuracy.target;
  const cards = [
    card("Accuracy", isNumber(summary.output_sqnr_db) ? decibels(summary.output_sqnr_db) : "not measured",
      [isNumber(summary.cosine) && `cosine ${summary.cosine.toFixed(4)}`,
        isNumber(summary.agreement) && `agreement ${percent(summary.agreement)}`,
        isNumber(accuracy.top1) && `top-1 ${percent(accuracy.top1)} (float32 ${percent(accuracy.top1_float32)})`,
        isNumber(accuracy.f1) && `F1 ${percent(accuracy.f1)} (float32 ${percent(accuracy.f1_float32)})`,
      ].filter(Boolean).join(", ") || accuracy.note),
    card("Verdict",
      make("span", { class: `badge ${accuracy.verdict}` }, accuracy.verdict.replace("_", " ")),
      `${accuracy.metric} ${accuracy.max_drop === undefined ? "target" : "loss at most"} ${target}, ` +
      `${accuracy.samples} samples`),
    card("Size of the weights", bytes(summary.weight_bytes),
      `${bytes(summary.weight_bytes_float32)} in float32` +
      (summary.compression ? `, ${summary.compression.toFixed(2)} times smaller` : ""), meter(share)),
    card("MACs in int8", percent(summary.mac_share_int8),
      `${summary.layers_int8} layers int8, ${summary.layers_float32} float` +
      (summary.layers_int4 ? `; ${summary.layers_int4} with 4-bit weights` : "") +
      (summary.layers_bf16 ? `; ${summary.layers_bf16} bf16` : ""),
      meter(summary.mac_share_int8)),
    card("Time to quantize", seconds(summary.seconds),
      calibration.samples ? `${calibration.samples} samples calibrate, ` +
        `${calibration.held_out_samples} measure` : "ranges are taken while serving"),
  ];
  if (memory) {
    cards.push(card("Memory of a run", bytes(memory.arena_bytes + memory.scratchpad_bytes),
      `activations ${bytes(memory.arena_bytes)}, used ${short(memory.reuse)} times over` +
      (summary.peak_rss_bytes ? `; peak while quantizing ${bytes(summary.peak_rss_bytes)}` : "")));
  }
  byId("cards").append(...cards);
  byId("warnings").hidden = report.warnings.length === 0;
  byId("warnings").querySelector("ul")
    .append(...report.warnings.map((warning) => make("li", {}, warning)));
  byId("yaml").textContent = report.configuration ?? "";
}

// --- The table -----------------------------------------------------------------------------------

const kind = (layer) =>
  !layer.decision.startsWith("int") ? "float" : layer.decision.includes("dynamic") ? "dynamic" : "int8";
const mostDecibels = 60;

function sqnrCell(value) {
  return make("span", { class: "sqnr" }, make("span", {}, decibels(value)),
    meter(isNumber(value) ? value / mostDecibels : 0));
}

const columns = [
  { key: "index", title: "#", number: true, value: (layer) => layer.index + 1 },
  { key: "name", title: "Layer", value: (layer) => layer.name, cell: (layer) => {
    const button = make("button", { type: "button" }, layer.name || "(no name)");
    button.addEventListener("click", () => select(layer));
    return [button, layer.reason ? make("small", {}, layer.reason) : null];
  } },
  { key: "op", title: "Operator", value: (layer) => layer.op },
  { key: "decision", title: "Precision", value: (layer) => layer.decision,
    cell: (layer) => [make("span", { class: `tag ${kind(layer)}` }, layer.decision)] },
  { key: "weight_sqnr_db", title: "Weights", number: true, value: (layer) => layer.weight_sqnr_db,
    cell: (layer) => [sqnrCell(layer.weight_sqnr_db)] },
  { key: "output_sqnr_db", title: "Output", number: true, value: (layer) => layer.output_sqnr_db,
    cell: (layer) => [sqnrCell(layer.output_sqnr_db)] },
  { key: "macs", title: "MACs", number: true, value: (layer) => layer.macs,
    cell: (layer) => [scaled(layer.macs, "")] },
  { key: "bytes_after", title: "Bytes", number: true, value: (layer) => layer.bytes_after,
    cell: (layer) => [bytes(layer.bytes_after)] },
];
const order = { column: columns[0], descending: false };

function compare(a, b) {
  const x = order.column.value(a), y = order.column.value(b);
  // What was not measured comes last in either direction.
  if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
  const less = order.column.number ? x - y : x.localeCompare(y);
  return (order.descending ? -less : less) || a.index - b.index;
}

function matches(layer) {
  const text = byId("filter").value.trim().toLowerCase();
  const wanted = byId("precision").value;
  return (!wanted || layer.decision === wanted) &&
    [layer.name, layer.op, layer.kernel, layer.reason].join(" ").toLowerCase().includes(text);
}

function drawTable() {
  const rows = layers.filter(matches).sort(compare);
  byId("table").tBodies[0].replaceChildren(...rows.map((layer) => layer.row));
  byId("shown").textContent = `${rows.length} of ${layers.length}`;
  for (const column of columns) {
    column.heading.setAttribute("aria-sort", column !== order.column ? "none"
      : order.descending ? "descending" : "ascending");
  }
}

function prepareTable() {
  layers.forEach((layer, index) => {
    layer.index = index;
    layer.row = make("tr", { "data-layer": index, "aria-selected": "false" },
      ...columns.map((column) => make("td", { class: column.number ? "number" : column.key },
        ...(column.cell ? column.cell(layer) : [String(column.value(layer))]))));
  });
  for (const column of columns) {
    const button = make("button", { type: "button", "data-sort": column.key }, column.title);
    button.addEventListener("click", () => {
      order.descending = order.column === column ? !order.descending : false;
      order.column = column;
      drawTable();
    });
    column.heading = make("th", { scope: "col", class: column.number ? "number" : "" }, button);
    byId("table").tHead.rows[0].append(column.heading);
  }
  for (const decision of [...new Set(layers.map((layer) => layer.decision))].sort()) {
    byId("precision").append(make("option", { value: decision }, decision));
  }
  byId("filter").addEventListener("input", drawTable);
  byId("precision").addEventListener("change", drawTable);
  drawTable();
}

// --- A layer -------------------------------------------------------------------------------------

const plot = { width: 540, height: 176, left: 8, right: 8, top: 26, bottom: 30 };

// Logarithmic counts of values over the values; grid: {low, high, step, inner}.
function drawHistogram(histogram, grid, label) {
  const { counts, low, bin_width: width } = histogram;
  const ends = [low, low + counts.length * width, ...(grid ? [grid.low, grid.high] : [])];
  let from = Math.min(...ends), to = Math.max(...ends);
  const margin = (to - from || 1) * 0.02;
  from -= margin;
  to += margin;
  const x = (value) => plot.left + (plot.width - plot.left - plot.right) * (value - from) / (to - from);
  const floor = plot.height - plot.bottom;
  const most = Math.log1p(Math.max(1, ...counts));
  const svg = draw("svg", { viewBox: `0 0 ${plot.width} ${plot.height}`, role: "img", "aria-label": label });
  counts.forEach((count, i) => {
    if (count === 0) return;
    const begin = low + i * width, middle = begin + width / 2;
    const size = (floor - plot.top) * Math.log1p(count) / most;
    // Half a step beyond the last code costs no more than between two codes.
    const outside = grid && (middle < grid.low - grid.step / 2 || middle > grid.high + grid.step / 2);
    svg.append(draw("rect", { class: outside ? "outside" : "bin", x: x(begin), y: floor - size,
      width: Math.max(0.8, x(begin + width) - x(begin) - 0.4), height: size },
    draw("title", {}, `${short(begin)} to ${short(begin + width)}: ${count}`)));
  });
  svg.append(draw("line", { class: "axis", x1: plot.left, x2: plot.width - plot.right, y1: floor, y2: floor }));
  if (grid) drawGrid(svg, grid, x, floor);
  const marks = [[from, "start", from], [to, "end", to]];
  if (x(0) > plot.left + 60 && x(0) < plot.width - plot.right - 60) marks.push([0, "middle", 0]);
  for (const [at, anchor, value] of marks) {
    svg.append(draw("text", { x: x(at), y: plot.height - 4, "text-anchor": anchor }, short(value)));
  }
  return svg;
}

function drawGrid(svg, grid, x, floor) {
  // Codes under the axis, as many as can be told apart.
  let every = 1;
  while (x(grid.low + every * grid.step) - x(grid.low) < 4) every *= 2;
  for (let value = grid.low; value <= grid.high * (1 + 1e-6); value += every * grid.step) {
    svg.append(draw("line", { class: "code", x1: x(value), x2: x(value), y1: floor + 2, y2: floor + 8 }));
  }
  for (const [value, anchor, inner] of [[grid.low, "start", -grid.inner], [grid.high, "end", grid.inner]]) {
    if (grid.inner !== undefined) {
      svg.append(draw("rect", { class: "spread", x: Math.min(x(value), x(inner)), y: plot.top,
        width: Math.abs(x(value) - x(inner)), height: floor - plot.top }));
    }
    svg.append(draw("line", { class: "clip", x1: x(value), x2: x(value), y1: plot.top - 8, y2: floor }),
      draw("text", { class: "clip-label", x: x(value), y: plot.top - 13, "text-anchor": anchor }, short(value)));
  }
  grid.every = every;
}

function legend(grid, histogram, values) {
  const zeros = histogram.zeros > 0 ? `; ${percent(histogram.zeros / values)} exact zeroes not drawn` : "";
  return make("p", { class: "legend" },
    grid ? make("span", { class: "clip" }, make("b"), grid.inner === undefined ? "clip limits"
      : "clip limits, shaded from the narrowest channel's to the widest's") : null,
    grid ? make("span", { class: "code" }, make("b"),
      grid.every === 1 ? "codes" : `every ${grid.every}th code`) : null,
    make("span", {}, `counts are logarithmic${zeros}`));
}

const facts = (pairs) => make("dl", { class: "facts" },
  ...pairs.filter(([, value]) => value !== undefined && value !== "" && value !== false)
    .flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))]));

function compared(algorithms, chosen, lists) {
  if (algorithms.length === 0) return "";
  const box = make("div", { class: "columns" }, make("span", { class: "head" }, "algorithm"),
    ...lists.map(([title]) => make("span", { class: "head" }, title)));
  box.style.gridTemplateColumns = `minmax(8em, 1.3fr) repeat(${lists.length}, 1fr)`;
  for (const algorithm of algorithms) {
    const name = make(algorithm.name === chosen ? "strong" : "span", {},
      algorithm.name === chosen ? `${algorithm.name} ✓` : algorithm.name);
    box.append(name, ...lists.map(([, value, cell]) => make("span", {},
      cell === "text" ? value(algorithm) : sqnrCell(value(algorithm)))));
  }
  return box;
}

function activationParts(activations) {
  const isStatic = activations.timing === "static";
  const grid = isStatic ? { low: activations.low, high: activations.high, step: activations.scale } : null;
  return [
    make("h3", {}, "Activations it reads"),
    drawHistogram(activations.histogram, grid, "Histogram of activations"),
    legend(grid, activations.histogram, activations.values),
    facts([
      ["grid", isStatic && `${activations.dtype} ${activations.scheme}, ${activations.granularity}, ` +
        `step ${short(activations.scale)}, zero point ${activations.zero_point}`],
      ["observed", `${short(activations.observed_min)} to ${short(activations.observed_max)}`],
      ["clipped", isStatic && `${percent(activations.clipped_share, 3)} of the values`],
      ["served", !isStatic && "not on this layer's own static grid"]]),
    compared(activations.algorithms, isStatic ? activations.algorithm : "", [
      ["SQNR", (algorithm) => algorithm.sqnr_db],
      ["clipped", (algorithm) => percent(algorithm.clipped_share, 3), "text"]]),
  ];
}

function weightParts(weights) {
  const widest = weights.largest_scale * weights.last_code;
  const grid = weights.scales > 0 ? { low: -widest, high: widest, step: weights.largest_scale,
    inner: weights.scales > 1 ? weights.smallest_scale * weights.last_code : undefined } : null;
  const granularity = { per_tensor: 0, per_channel: 1 }[weights.granularity];
  return [
    make("h3", {}, "Weights"),
    drawHistogram(weights.histogram, grid, "Histogram of weights"),
    legend(grid, weights.histogram, 1),
    facts([
      ["stored as", `${weights.format} ${weights.error_compensation === "gptq" ? "with GPTQ" : ""}`],
      ["note", weights.note],
      ["grid", weights.scales > 0 && `${weights.dtype} ${weights.scheme}, ` +
        `codes to ±${weights.last_code}, ${weights.granularity} (${weights.scales} scales)`],
      ["SQNR", decibels(weights.sqnr_db) + (weights.scales > 0
        ? `, worst channel ${decibels(weights.worst_channel_sqnr_db)}` : "")],
      ["dead channels", weights.dead_channels || undefined]]),
    compared(weights.algorithms, weights.eight_bit_algorithm, [
      [`per tensor${granularity === 0 ? " ✓" : ""}`, (algorithm) => algorithm.per_tensor_sqnr_db],
      [`per channel${granularity === 1 ? " ✓" : ""}`, (algorithm) => algorithm.per_channel_sqnr_db]]),
  ];
}

function select(layer) {
  for (const other of layers) other.row.setAttribute("aria-selected", String(other === layer));
  const panel = byId("layer");
  panel.replaceChildren(
    make("h2", {}, layer.name || "(no name)"),
    make("p", { class: "muted" }, `${layer.op} [${layer.weight_shape.join(" × ")}] · `,
      make("span", { class: `tag ${kind(layer)}` }, layer.decision), layer.reason ? ` ${layer.reason}` : ""),
    facts([["kernel", layer.kernel],
      ["transformed by", layer.transforms.join(", ") || undefined],
      ["alone", isNumber(layer.network_sqnr_if_only_this_quantized_db) &&
        `network at ${decibels(layer.network_sqnr_if_only_this_quantized_db)} if only this is quantized`]]),
    ...(layer.activations ? activationParts(layer.activations)
      : [make("p", { class: "muted" }, "Its activations were not observed: their ranges are taken while serving, or nobody asks for any.")]),
    ...(layer.weights.histogram ? weightParts(layer.weights) : []));
}

// --- The charts ----------------------------------------------------------------------------------

const mostRows = 14;

function drawSensitivity() {
  const alone = layers.some((layer) => isNumber(layer.network_sqnr_if_only_this_quantized_db));
  const value = (layer) =>
    alone ? layer.network_sqnr_if_only_this_quantized_db : layer.output_sqnr_db;
  const rows = layers.filter((layer) => isNumber(value(layer))).sort((a, b) => value(a) - value(b));
  byId("sensitivity-note").textContent = (alone
    ? "The network's output SQNR if only this layer is quantized; the most harmful first."
    : "Each layer's own output in the quantized network; the noisiest first.") +
    (rows.length > mostRows ? ` ${mostRows} of ${rows.length}.` : "");
  const most = Math.max(mostDecibels, ...rows.map(value));
  drawRows(byId("sensitivity"), rows.slice(0, mostRows).map((layer) => ({
    label: layer.name, text: decibels(value(layer)), width: value(layer) / most,
    kind: { int8: "", dynamic: "soft", float: "float" }[kind(layer)] })),
  "Not measured: there were no held-out samples.");
}

function drawWaterfall() {
  const total = report.summary.weight_bytes_float32;
  const saving = (layer) => layer.bytes_before - layer.bytes_after;
  const sorted = layers.filter((layer) => saving(layer) !== 0).sort((a, b) => saving(b) - saving(a));
  const rows = [{ label: "float32", text: bytes(total), width: 1, kind: "float" }];
  let left = total;
  const step = (label, saved) => {
    left -= saved;
    rows.push({ label, text: `−${bytes(saved)}`, left: left / total, width: saved / total, kind: "soft" });
  };
  for (const layer of sorted.slice(0, mostRows - 3)) step(layer.name, saving(layer));
  const others = sorted.slice(mostRows - 3);
  if (others.length > 0) {
    step(`${others.length} others`, others.reduce((sum, layer) => sum + saving(layer), 0));
  }
  rows.push({ label: "served", text: bytes(left), width: left / total, chosen: true });
  drawRows(byId("waterfall"), total > 0 ? rows : [], "The model has no weights to quantize.");
}

function drawChoices() {
  const rows = report.calibration.attempts;
  const most = Math.max(mostDecibels, ...rows.map((row) => row.output_sqnr_db));
  drawRows(byId("choices"), rows.map((row) => ({ label: row.algorithm, text: decibels(row.output_sqnr_db),
    width: row.output_sqnr_db / most, chosen: row.algorithm === report.calibration.activation_algorithm })),
  "Nothing was to choose: no range is from samples, or no sample was left to measure with.");
  const mean = (part) => (algorithm) => algorithm[part]?.mean;
  byId("algorithms").append(compared(report.algorithms ?? [], "", [
    ["weights per tensor", mean("weights_per_tensor_sqnr_db")],
    ["weights per channel", mean("weights_per_channel_sqnr_db")],
    ["activations", mean("activations_sqnr_db")]]));
}

function drawStages() {
  const { stages } = report.summary;
  const most = Math.max(0, ...stages.map((stage) => stage.seconds));
  drawRows(byId("stages"), stages.map((stage) => ({ label: stage.stage, text: seconds(stage.seconds),
    width: most > 0 ? stage.seconds / most : 0 })), "Not measured.");
}

function prepareTheme() {
  const set = (dark) => {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    byId("theme").textContent = dark ? "Light" : "Dark";
  };
  set(matchMedia("(prefers-color-scheme: dark)").matches);
  byId("theme").addEventListener("click",
    () => set(document.documentElement.dataset.theme !== "dark"));
}

prepareTheme();
drawHeadline();
prepareTable();
drawSensitivity();
drawWaterfall();
drawChoices();
drawStages();
if (layers.length > 0) select(layers[0]);
