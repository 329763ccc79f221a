// From a dashboard's queries to Grafana's data frames.

import {
  DataFrame, FieldType, GrafanaTheme2, getDisplayProcessor, getFieldDisplayName, toDataFrame,
} from "@grafana/data";

// From and to in milliseconds since 1970, the step in seconds.
export interface Span { from: number; to: number; step: number }
type Sample = [number, string];
interface Series { metric: Record<string, string>; value?: Sample; values?: Sample[] }

export const problems: string[] = [];

async function ask(path: string): Promise<any> {
  const answer = await (await fetch("/prometheus/api/v1/" + path)).json();
  if (answer.status !== "success") throw new Error(answer.error);
  return answer.data;
}

export class Variables {
  private values: Record<string, string> = {};

  constructor(span: Span) {
    const seconds = Math.round((span.to - span.from) / 1000);
    this.values = { __rate_interval: `${Math.max(10, 4 * span.step)}s`, __range: `${seconds}s` };
  }

  fill(text: string): string {
    return text.replace(/\$\{?(\w+)\}?/g, (whole, name) => {
      if (name in this.values) return this.values[name];
      problems.push(`no variable ${whole}`);
      return whole;
    });
  }

  // `chosen` are values of variables of which one is chosen; of the others all are.
  async resolve(dashboard: any, chosen: Record<string, string>) {
    for (const variable of dashboard.templating.list) {
      if (variable.type !== "query") continue;
      const definition = this.fill(variable.definition);
      const [, selector, label] = definition.match(/^label_values\((.*), (\w+)\)$/)!;
      const match = encodeURIComponent(selector);
      const found: string[] = await ask(`label/${label}/values?match[]=${match}`);
      if (!found.length) problems.push(`variable ${variable.name} has no value`);
      const escaped = found.map((value) => value.replace(/[.*+?^${}()|[\]\\]/g, "\\\\$&"));
      this.values[variable.name] = variable.multi
        ? `(${escaped.join("|")})`
        : chosen[variable.name] ?? found[0] ?? "";
    }
  }
}

// Grafana counts each bucket for itself; Prometheus' hold all that are smaller, too.
function apart(series: Series[]): Series[] {
  const bound = (one: Series) => (one.metric.le === "+Inf" ? Infinity : Number(one.metric.le));
  const sorted = [...series].sort((a, b) => bound(a) - bound(b));
  return sorted.map((one, index) => {
    const below = index ? sorted[index - 1] : undefined;
    const less = ([time, value]: Sample, lower?: Sample): Sample =>
      [time, String(Math.max(0, Number(value) - Number(lower?.[1] ?? 0)))];
    const lower = new Map((below?.values ?? []).map((sample) => [sample[0], sample]));
    return {
      metric: one.metric,
      value: one.value && less(one.value, below?.value),
      values: one.values?.map((sample) => less(sample, lower.get(sample[0]))),
    };
  });
}

function tableFrame(series: Series[], hidden: Record<string, boolean>): DataFrame {
  const names = [...new Set(series.flatMap((one) => Object.keys(one.metric)))];
  const fields = names.filter((name) => !hidden[name]).map((name) => ({
    name, type: FieldType.string, config: {}, values: series.map((one) => one.metric[name] ?? ""),
  }));
  return toDataFrame({ fields });
}

function seriesFrame(target: any, expression: string, one: Series): DataFrame {
  const samples = one.values ?? [one.value!];
  const legend = target.legendFormat === "__auto" ? expression : target.legendFormat;
  const labelOf = (_: string, label: string) => one.metric[label] ?? "";
  const name = legend.replace(/\{\{(\w+)\}\}/g, labelOf);
  return toDataFrame({
    refId: target.refId, name,
    fields: [
      { name: "Time", type: FieldType.time, config: {},
        values: samples.map(([time]) => time * 1000) },
      { name: "Value", type: FieldType.number, labels: one.metric,
        config: { displayNameFromDS: name }, values: samples.map(([, value]) => Number(value)) },
    ],
  });
}

function put(object: any, path: string, value: unknown) {
  const keys = path.split(".");
  const last = keys.pop()!;
  for (const key of keys) object = object[key] ??= {};
  object[last] = value;
}

// The panel's field options, with overrides by name, and how values are written.
function configure(panel: any, frames: DataFrame[], theme: GrafanaTheme2) {
  let index = 0;
  for (const frame of frames) for (const field of frame.fields) {
    field.config = { ...structuredClone(panel.fieldConfig.defaults), ...field.config };
    field.config.custom = { ...(field.config.custom ?? {}) };
    const name = getFieldDisplayName(field, frame, frames);
    for (const override of panel.fieldConfig.overrides) {
      if (override.matcher.id !== "byName" || override.matcher.options !== name) continue;
      for (const property of override.properties) put(field.config, property.id, property.value);
    }
    if (field.type === FieldType.number) {
      const finite = field.values.filter(Number.isFinite);
      const [min, max] = [Math.min(...finite), Math.max(...finite)];
      field.state = { seriesIndex: index++, range: { min, max, delta: max - min } };
    }
    field.display = getDisplayProcessor({ field, theme });
  }
}

export async function framesOf(
  panel: any, variables: Variables, span: Span, theme: GrafanaTheme2
): Promise<DataFrame[]> {
  const frames: DataFrame[] = [];
  for (const target of panel.targets) {
    const expression = variables.fill(target.expr);
    const query = `query=${encodeURIComponent(expression)}`;
    const range = `start=${span.from / 1000}&end=${span.to / 1000}&step=${span.step}`;
    const answer = await ask(target.instant
      ? `query?${query}&time=${span.to / 1000}` : `query_range?${query}&${range}`);
    let series: Series[] = answer.result;
    if (!series.length) problems.push(`"${panel.title}" has no data: ${expression}`);
    if (target.format === "heatmap") series = apart(series);
    if (target.format === "table") {
      const organize = panel.transformations.find((one: any) => one.id === "organize");
      frames.push(tableFrame(series, organize?.options.excludeByName ?? {}));
    } else {
      frames.push(...series.map((one) => seriesFrame(target, expression, one)));
    }
  }
  configure(panel, frames, theme);
  return frames;
}
