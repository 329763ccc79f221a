// Draws a dashboard with the components that Grafana publishes: its panel frames, time series,
// stats, bar gauges and tables, with its units, thresholds and colours. Heat maps are a plain grid
// of ours. Annotations are not drawn.

import React, { ReactNode } from "react";
import { createRoot } from "react-dom/client";
import {
  DataFrame, Field, FieldType, ThemeContext, createTheme, dateTime, getFieldDisplayName,
  reduceField,
} from "@grafana/data";
import {
  BarGauge, BigValue, BigValueColorMode, BigValueGraphMode, BigValueJustifyMode, GlobalStyles,
  PanelChrome, Table, TimeSeries,
} from "@grafana/ui";
import { BarGaugeDisplayMode, LegendDisplayMode, VizOrientation } from "@grafana/schema";
import { Span, Variables, framesOf, problems } from "./data";

const WIDTH = 1400;
const ROW = 38;
const GAP = 8;
const theme = createTheme({ colors: { mode: "dark" } });

interface Drawn { panel: any; frames: DataFrame[]; span: Span; width: number; height: number }

const numbers = (frames: DataFrame[]) => frames.flatMap((frame) => frame.fields
  .filter((field) => field.type === FieldType.number).map((field) => ({ frame, field })));

function last(field: Field) {
  return field.display!(reduceField({ field, reducers: ["lastNotNull"] }).lastNotNull);
}

function Stat({ frames, width, height }: Drawn) {
  const [{ frame, field }] = numbers(frames);
  return <BigValue theme={theme} width={width} height={height} value={last(field)}
    colorMode={BigValueColorMode.Value} graphMode={BigValueGraphMode.Area}
    justifyMode={BigValueJustifyMode.Auto} sparkline={{ y: field, x: frame.fields[0] }} />;
}

function Bars({ frames, width, height }: Drawn) {
  const all = numbers(frames);
  const max = Math.max(...all.map(({ field }) => last(field).numeric));
  const each = Math.min(34, height / all.length);
  return <div>{all.map(({ frame, field }, index) => <BarGauge key={index} theme={theme}
    width={width} height={each - 3} field={{ ...field.config, min: 0, max: field.config.max ?? max }}
    value={{ ...last(field), title: getFieldDisplayName(field, frame, frames) }}
    orientation={VizOrientation.Horizontal} display={field.display} itemSpacing={8}
    lcdCellWidth={12} displayMode={BarGaugeDisplayMode.Gradient} />)}</div>;
}

function Lines({ panel, frames, span, width, height }: Drawn) {
  const [from, to] = [dateTime(span.from), dateTime(span.to)];
  return <TimeSeries frames={frames} structureRev={1} timeRange={{ from, to, raw: { from, to } }}
    timeZone="utc" width={width - 14} height={height} options={panel.options}
    legend={{
      displayMode: LegendDisplayMode.List, placement: "bottom", calcs: [], showLegend: true,
    }} />;
}

function HeatMap({ frames, span, width, height }: Drawn) {
  const [left, bottom] = [48, 18];
  const rows = numbers(frames).map(({ frame, field }) => ({
    bound: getFieldDisplayName(field, frame, frames), times: frame.fields[0].values,
    values: field.values,
  }));
  const most = Math.max(...rows.flatMap((row) => row.values));
  const tall = (height - bottom) / rows.length;
  const wide = ((width - left) * span.step * 1000) / (span.to - span.from);
  const at = (time: number) => left + ((width - left) * (time - span.from)) / (span.to - span.from);
  const clock = (time: number) => new Date(time).toISOString().slice(11, 19);
  return <svg width={width} height={height} fontSize="10" fill={theme.colors.text.secondary}>
    {rows.map((row, index) => <g key={index}>
      <text x={left - 6} y={height - bottom - index * tall - 1} textAnchor="end">{row.bound}</text>
      {row.values.map((value, column) => value > 0 && <rect key={column} x={at(row.times[column])}
        y={height - bottom - (index + 1) * tall} width={wide + 0.5} height={tall - 0.5}
        fill="#ff9830" opacity={0.15 + 0.85 * Math.sqrt(value / most)} />)}
    </g>)}
    {[0.1, 0.5, 0.9].map((share) => <text key={share} textAnchor="middle" y={height - 4}
      x={left + share * (width - left)}>{clock(span.from + share * (span.to - span.from))}</text>)}
  </svg>;
}

function Rows({ frames, width, height }: Drawn) {
  return <Table data={frames[0]} width={width} height={height} />;
}

const KINDS: Record<string, (drawn: Drawn) => ReactNode> = {
  stat: Stat, bargauge: Bars, timeseries: Lines, heatmap: HeatMap, table: Rows,
};

class Guard extends React.Component<{ title: string; children: ReactNode }> {
  state = { failed: false };
  static getDerivedStateFromError() { return { failed: true }; }
  componentDidCatch(error: Error) { problems.push(`"${this.props.title}": ${error.message}`); }
  render() { return this.state.failed ? "not drawn" : this.props.children; }
}

function Cell({ panel, frames, span }: { panel: any; frames: DataFrame[]; span: Span }) {
  const { x, y, w, h } = panel.gridPos;
  const cell = (WIDTH - GAP) / 24;
  const place = { position: "absolute" as const, left: GAP + x * cell, top: y * ROW };
  if (panel.type === "row") {
    return <div style={{ ...place, paddingTop: 12 }}><b>⌄ {panel.title}</b></div>;
  }
  const [width, height] = [w * cell - GAP, h * ROW - GAP];
  const Kind = KINDS[panel.type];
  return <div style={{ ...place, width, height }}>
    <PanelChrome title={panel.title} description={panel.description} width={width} height={height}>
      {(width, height) => <Guard title={panel.title}>
        {numbers(frames).length || panel.type === "table"
          ? <Kind {...{ panel, frames, span, width, height }} /> : "No data"}
      </Guard>}
    </PanelChrome>
  </div>;
}

async function main() {
  const asked = new URLSearchParams(location.search);
  const seconds = Number(asked.get("seconds"));
  const to = Number(asked.get("to"));
  const span = { from: to - seconds * 1000, to, step: Math.max(1, Math.round(seconds / 250)) };
  const dashboard = await (await fetch(`/${asked.get("dashboard")}.json`)).json();
  const variables = new Variables(span);
  await variables.resolve(dashboard, { model: asked.get("model") ?? "" });
  const cells = [];
  for (const panel of dashboard.panels) {
    const frames = panel.type === "row" ? [] : await framesOf(panel, variables, span, theme);
    cells.push(<Cell key={panel.id} panel={panel} frames={frames} span={span} />);
  }
  const rows = Math.max(...dashboard.panels.map(({ gridPos }: any) => gridPos.y + gridPos.h));
  createRoot(document.getElementById("root")!).render(<ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <h3 style={{ margin: "10px 16px" }}>{dashboard.title}</h3>
    <div style={{ position: "relative", width: WIDTH + GAP, height: rows * ROW }}>{cells}</div>
  </ThemeContext.Provider>);
  // Two frames and the fonts: then everything has been drawn.
  await document.fonts.ready;
  await new Promise((done) => setTimeout(done, 1500));
}

main().catch((error) => problems.push(String(error)))
  .finally(() => { (window as any).octet = { problems: [...new Set(problems)] }; });
