"""The list that Octet's dashboards are made of: every panel, once."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Dashboard:
    uid: str
    title: str
    purpose: str
    variables: tuple[str, ...]


@dataclass(frozen=True)
class Query:
    expr: str
    legend: str = ""
    limit: bool = False  # a line that others are held against
    buckets: bool = False  # series are cumulative buckets


@dataclass(frozen=True)
class Panel:
    dashboard: str
    section: str
    kind: str  # stat, timeseries, bargauge, table, heatmap
    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str = "short"
    thresholds: tuple[tuple[float | None, str], ...] = ()  # from which value on which colour
    width: int = 8
    height: int = 8
    decimals: int | None = None
    minimum: float | None = None
    maximum: float | None = None
    at_least_to: float | None = None  # what a graph's axis reaches, whatever is on it
    stacked: bool = False
    link_to: str = ""  # a dashboard that shows the model of a series
    hidden: tuple[str, ...] = field(default=())  # a table's columns


@dataclass(frozen=True)
class Annotation:
    name: str
    expr: str
    title: str
    tags: str
    color: str
    value_is_time: bool = False


DASHBOARDS = {
    "fleet": Dashboard("octet-fleet", "Octet fleet", "All servers and models at a glance.",
                       ("job", "instance")),
    "model": Dashboard("octet-model", "Octet model", "One model: speed, batching, accuracy.",
                       ("job", "instance", "model")),
    "capacity": Dashboard("octet-capacity", "Octet capacity",
                          "CPU, memory and streams, and what one more replica would give.",
                          ("job", "instance")),
}  # fmt: skip

# Label, query, whether several values may be chosen.
VARIABLES = {
    "job": ("Job", "label_values(octet_build_info, job)", True),
    "instance": ("Server", 'label_values(octet_build_info{job=~"$job"}, instance)', True),
    "model": ("Model", 'label_values(octet_model_info{job=~"$job"}, model)', False),
}

ALL = 'job=~"$job", instance=~"$instance"'
ONE = ALL + ', model="$model"'
RATE = "[$__rate_interval]"
SERVER_ERRORS = ('code=~"INTERNAL|UNKNOWN|UNAVAILABLE|RESOURCE_EXHAUSTED|DEADLINE_EXCEEDED|'
                 'FAILED_PRECONDITION|DATA_LOSS"')  # fmt: skip

ANNOTATIONS = (
    Annotation("Configuration taken up",
               f"octet_config_last_reload_success_timestamp_seconds{{{ALL}}} * 1000",
               "{{instance}}: configuration taken up", "instance", "green", value_is_time=True),
    Annotation("Model loaded again",
               f"sum by (instance, model, result) (changes(octet_model_swap_total{{{ALL}}}[1m]))"
               " > 0",
               "{{instance}}: {{model}} loaded again: {{result}}", "model,result", "blue"),
    Annotation("Configuration not taken up",
               f'sum by (instance, result) (changes(octet_config_reload_total{{{ALL}, '
               'result=~"rejected|failed"}[1m])) > 0',
               "{{instance}}: configuration {{result}}", "instance,result", "red"),
)  # fmt: skip

GOOD_WHEN_LOW = lambda warn, bad: ((None, "green"), (warn, "orange"), (bad, "red"))  # noqa: E731
GOOD_WHEN_HIGH = lambda bad, good: ((None, "red"), (bad, "orange"), (good, "green"))  # noqa: E731


def quantile(share: float, metric: str, by: str = "") -> str:
    labels = ", ".join(filter(None, (by, "le")))
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{{{{S}}}}{RATE})))"


def at(selector: str, text: str) -> str:
    return text.replace("{{S}}", "{" + selector + "}").replace("{S}", "{" + selector + "}")


def per_second(counter: str, selector: str, by: str = "") -> str:
    grouping = f" by ({by}) " if by else ""
    return f"sum{grouping}(rate({counter}{{{selector}}}{RATE}))"


def ratio_of_errors(selector: str, by: str = "") -> str:
    """0 without errors; nothing without requests."""
    sum_by = f"sum by ({by}) " if by else "sum "
    requests = f"{sum_by}(rate(octet_inference_requests_total{{{selector}}}{RATE}))"
    errors = f"{sum_by}(rate(octet_inference_requests_total{{{selector}, {SERVER_ERRORS}}}{RATE}))"
    return f"({errors} or 0 * {requests}) / ({requests} > 0)"


# Capacity is told by CPU time, not by busy streams: streams of several models share the cores.
REQUESTS = f"sum(rate(octet_inference_requests_total{{{ALL}, code=\"OK\"}}{RATE}))"
CPU = (f"sum(rate(octet_process_cpu_seconds_total{{{ALL}}}{RATE}))"
       f" / sum(octet_process_cpu_cores{{{ALL}}})")  # fmt: skip
REPLICAS = f"count(octet_process_cpu_cores{{{ALL}}})"

FLEET = [
    Panel("fleet", "Now", "stat", "Ready", "Servers whose `/healthz/ready` answers 200.",
          (Query(f"sum(octet_ready{{{ALL}}})"),), "none", GOOD_WHEN_HIGH(1, 1), 3, 4),
    Panel("fleet", "Now", "stat", "Not ready",
          "Servers that do not answer scrapes, or whose `/healthz/ready` answers 503.",
          (Query(f"(count(up{{{ALL}}} == 0) or vector(0)) + (count(octet_ready{{{ALL}}} == 0) "
                 "or vector(0))"),), "none", GOOD_WHEN_LOW(1, 2), 3, 4),
    Panel("fleet", "Now", "stat", "Alerts", "Octet's alerts that fire now.",
          (Query('count(ALERTS{alertname=~"Octet.*", alertstate="firing"}) or vector(0)'),),
          "none", GOOD_WHEN_LOW(1, 1), 3, 4),
    Panel("fleet", "Now", "stat", "Models",
          "Models that are served, whatever the number of servers.",
          (Query(f"count(count by (model, version) (octet_model_info{{{ALL}}}))"),), "none",
          (), 3, 4),
    Panel("fleet", "Now", "stat", "Memory saved",
          "Weight bytes that quantization saves, all servers: float32 less served.",
          (Query(f"sum(octet_model_memory_saved_bytes{{{ALL}}})"),), "bytes",
          ((None, "green"),), 3, 4),
    Panel("fleet", "Now", "stat", "Share saved",
          "The same as a share of what the weights would take in float32.",
          (Query(f"sum(octet_model_memory_saved_bytes{{{ALL}}}) / "
                 f'sum(octet_model_weight_bytes{{{ALL}, kind="float32"}})'),), "percentunit",
          ((None, "green"),), 3, 4),
    Panel("fleet", "Now", "stat", "Requests", "Requests answered per second, errors included.",
          (Query(per_second("octet_inference_requests_total", ALL)),), "reqps", (), 3, 4),
    Panel("fleet", "Now", "stat", "Error ratio",
          "Share of the requests that end in an error of the server; what callers do wrong does "
          "not count.",
          (Query(ratio_of_errors(ALL)),), "percentunit", GOOD_WHEN_LOW(0.005, 0.02), 3, 4),
    Panel("fleet", "Traffic", "timeseries", "Requests by model",
          "Requests answered per second; a click leads to the model.",
          (Query(per_second("octet_inference_requests_total", ALL + ', model!=""', "model"),
                 "{{model}}"),), "reqps", link_to="model", stacked=True, minimum=0),
    Panel("fleet", "Traffic", "timeseries", "Error ratio by model",
          "As above, by model; the dashed line is where OctetErrorRatioHigh begins.",
          (Query(ratio_of_errors(ALL + ', model!=""', "model"), "{{model}}"),), "percentunit",
          GOOD_WHEN_LOW(0.02, 0.02)[:2], link_to="model", minimum=0, at_least_to=0.03),
    Panel("fleet", "Traffic", "timeseries", "p99 latency by model",
          "From the arrival of a whole request to its answer; the dashed line is where "
          "OctetLatencyHigh begins.",
          (Query(at(ALL, quantile(0.99, "octet_request_duration_seconds", "model")), "{{model}}"),),
          "s", ((None, "green"), (1, "orange")), link_to="model", minimum=0),
    Panel("fleet", "Traffic", "timeseries", "Requests by server",
          "Whether the load is spread evenly.",
          (Query(per_second("octet_inference_requests_total", ALL, "instance"),
                 "{{instance}}"),), "reqps", width=12, minimum=0),
    Panel("fleet", "Traffic", "timeseries", "Requests by code",
          "The gRPC status codes of the answers.",
          (Query(per_second("octet_inference_requests_total", ALL, "code"),
                 "{{code}}"),), "reqps", width=12, minimum=0, stacked=True),
    Panel("fleet", "Quantization", "bargauge", "Models by precision",
          "Served models by the mode they are served in, all servers.",
          (Query(f"count by (mode) (octet_model_info{{{ALL}}})", "{{mode}}"),), "none", minimum=0,
          width=6),
    Panel("fleet", "Quantization", "bargauge", "Accuracy verdicts",
          "Quantized models by whether they meet their accuracy target.",
          (Query(f"count by (verdict) (octet_model_accuracy_verdict{{{ALL}}})", "{{verdict}}"),),
          "none", minimum=0, width=6),
    Panel("fleet", "Quantization", "bargauge", "Memory saved by model",
          "Weight bytes that quantization saves, all servers.",
          (Query(f"sum by (model) (octet_model_memory_saved_bytes{{{ALL}}})", "{{model}}"),),
          "bytes", link_to="model", width=6, minimum=0),
    Panel("fleet", "Quantization", "timeseries", "Weights",
          "Weights in memory (served, and shadow where requests are compared with float32) beside "
          "what they would take in float32 (dashed).",
          (Query(f'sum by (kind) (octet_model_weight_bytes{{{ALL}, kind!="float32"}})', "{{kind}}"),
           Query(f'sum(octet_model_weight_bytes{{{ALL}, kind="float32"}})', "float32", limit=True)),
          "bytes", stacked=True, width=6, minimum=0),
    Panel("fleet", "Servers", "table", "Versions and instruction sets",
          "What each server runs and on what: a slow server may have a smaller instruction set.",
          (Query(f"octet_build_info{{{ALL}}}"),), hidden=("job",), width=12, height=7),
    Panel("fleet", "Servers", "table", "Modes",
          "The mode each model is served in, and the one asked for.",
          (Query(f"octet_model_info{{{ALL}}}"),), hidden=("job",), width=12, height=7),
]  # fmt: skip

MODEL = [
    Panel("model", "Now", "stat", "Requests", "Requests answered per second, errors included.",
          (Query(per_second("octet_inference_requests_total", ONE)),), "reqps", (), 4, 4),
    Panel("model", "Now", "stat", "Error ratio",
          "Share of the requests that end in an error of the server.",
          (Query(ratio_of_errors(ONE)),), "percentunit", GOOD_WHEN_LOW(0.005, 0.02), 4, 4),
    Panel("model", "Now", "stat", "p99 latency", "One request in a hundred takes longer.",
          (Query(at(ONE, quantile(0.99, "octet_request_duration_seconds"))),), "s",
          GOOD_WHEN_LOW(0.5, 1), 4, 4),
    Panel("model", "Now", "stat", "Share saved",
          "What quantization saves of the model's float32 weights.",
          (Query(f"sum(octet_model_memory_saved_bytes{{{ONE}}}) / "
                 f'sum(octet_model_weight_bytes{{{ONE}, kind="float32"}})'),), "percentunit",
          ((None, "green"),), 4, 4),
    Panel("model", "Now", "stat", "Drift",
          "How much noisier the answers to requests are than those to the data of the load, in dB, "
          "on the server where it is worst. Needs `quantization.shadow.sample_rate`.",
          (Query(f"max(octet_model_output_sqnr_db{{{ONE}}} - "
                 f"octet_model_shadow_output_sqnr_db{{{ONE}}})"),), "dB", GOOD_WHEN_LOW(3, 6), 4, 4,
          decimals=1),
    Panel("model", "Now", "stat", "Load time",
          "From the start of the load to readiness, on the server where it took longest.",
          (Query(f"max(octet_model_load_seconds{{{ONE}}})"),), "s", (), 4, 4),
    Panel("model", "Requests", "timeseries", "Requests by code",
          "The gRPC status codes of the answers.",
          (Query(per_second("octet_inference_requests_total", ONE, "code"), "{{code}}"),),
          "reqps", stacked=True, minimum=0, width=12),
    Panel("model", "Requests", "timeseries", "Latency",
          "Quantiles of the time from the arrival of a whole request to its answer.",
          tuple(Query(at(ONE, quantile(share, "octet_request_duration_seconds")), legend)
                for share, legend in ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))), "s", minimum=0,
          width=12),
    Panel("model", "Requests", "bargauge", "Latency histogram",
          "Requests of the chosen time by how long they took: up to that many seconds.",
          (Query("sum by (le) (increase(octet_request_duration_seconds_bucket"
                 f"{{{ONE}}}[$__range]))", "{{le}}", buckets=True),), "short", minimum=0,
          decimals=0, height=12),
    Panel("model", "Requests", "heatmap", "Latency heat map",
          "The same over time: two bands are two kinds of requests.",
          (Query(per_second("octet_request_duration_seconds_bucket", ONE, "le"),
                 "{{le}}", buckets=True),), "s", height=12),
    Panel("model", "Requests", "timeseries", "Queue against compute",
          "Mean time in the queue and in the batch that carried the request. Much queue: more "
          "replicas or larger batches; much compute: a smaller mode or fewer rows.",
          (Query(f"sum(rate(octet_queue_duration_seconds_sum{{{ONE}}}{RATE})) / "
                 f"(sum(rate(octet_queue_duration_seconds_count{{{ONE}}}{RATE})) > 0)", "queue"),
           Query(f"sum(rate(octet_compute_duration_seconds_sum{{{ONE}}}{RATE})) / "
                 f"(sum(rate(octet_compute_duration_seconds_count{{{ONE}}}{RATE})) > 0)",
                 "compute")), "s", stacked=True, height=12, minimum=0),
    Panel("model", "Batches", "timeseries", "Rows per run", "The mean size of a batch, in rows.",
          (Query(f"sum(rate(octet_inference_count_total{{{ONE}}}{RATE})) / "
                 f"(sum(rate(octet_inference_executions_total{{{ONE}}}{RATE})) > 0)", "mean"),),
          "short", minimum=0),
    Panel("model", "Batches", "heatmap", "Batch sizes",
          "Runs by the number of their rows, over time.",
          (Query(per_second("octet_batch_size_bucket", ONE, "le"), "{{le}}",
                 buckets=True),), "short"),
    Panel("model", "Batches", "timeseries", "Dispatch reasons",
          "Why batches left the queue: a stream was idle, the batch was full, the longest wait for "
          "company was over, the model is draining.",
          (Query(per_second("octet_batch_dispatch_total", ONE, "reason"),
                 "{{reason}}"),), "ops", stacked=True, minimum=0),
    Panel("model", "Batches", "timeseries", "Waiting requests",
          "Requests in the queue, by server; at `max_queue_size` the next one is refused.",
          (Query(f"octet_pending_requests{{{ONE}}}", "{{instance}}"),), "short", minimum=0,
          width=12),
    Panel("model", "Batches", "timeseries", "Queue filled",
          "The same as a share of `max_queue_size`; the dashed line is where OctetQueueSaturated "
          "begins.",
          (Query(f"octet_pending_requests{{{ONE}}} / octet_queue_limit_requests{{{ONE}}}",
                 "{{instance}}"),), "percentunit", ((None, "green"), (0.8, "orange")), minimum=0,
          width=12),
    Panel("model", "Accuracy", "timeseries", "Output SQNR",
          "Signal to quantization noise of the outputs: at load, and over the last requests "
          "compared with float32. A gap is drift.",
          (Query(f"octet_model_output_sqnr_db{{{ONE}}}", "{{instance}} at load"),
           Query(f"octet_model_shadow_output_sqnr_db{{{ONE}}}", "{{instance}} requests")), "dB"),
    Panel("model", "Accuracy", "timeseries", "Drift",
          "The gap of the panel before; the dashed line is where OctetAccuracyDrift begins.",
          (Query(f"octet_model_output_sqnr_db{{{ONE}}} - "
                 f"octet_model_shadow_output_sqnr_db{{{ONE}}}", "{{instance}}"),), "dB",
          ((None, "green"), (6, "orange"))),
    Panel("model", "Accuracy", "timeseries", "Clipping",
          "Share of the values a layer reads that is beyond its calibrated range, for the layers "
          "where it is largest; the dashed line is where OctetClipDrift begins.",
          (Query(f"max by (layer) (octet_model_shadow_clip_ratio{{{ONE}}})", "{{layer}}"),),
          "percentunit", ((None, "green"), (0.05, "orange")), minimum=0, at_least_to=0.06),
    Panel("model", "Accuracy", "timeseries", "Decisions as float32's",
          "Share of the compared requests whose largest output is float32's.",
          (Query(f"octet_model_shadow_agreement{{{ONE}}}", "{{instance}}"),), "percentunit"),
    Panel("model", "Accuracy", "timeseries", "Accuracy against its target",
          "What the accuracy target is held against, measured at load, and the target (dashed).",
          (Query(f"octet_model_accuracy{{{ONE}}}", "{{instance}} {{metric}}"),
           Query(f"max by (metric) (octet_model_accuracy_target{{{ONE}}})", "target", limit=True)),
          "short"),
    Panel("model", "Accuracy", "timeseries", "Requests compared",
          "Requests run in float32 too, by what became of them.",
          (Query(per_second("octet_model_shadow_requests_total", ONE, "result"),
                 "{{result}}"),), "reqps", stacked=True, minimum=0),
    Panel("model", "Accuracy", "table", "Verdict",
          "met, best_effort (the target is missed) or unverified (too little data to say).",
          (Query(f"octet_model_accuracy_verdict{{{ONE}}}"),), hidden=("job",)),
    Panel("model", "Loads", "table", "Mode", "The mode it is served in, and the one asked for.",
          (Query(f"octet_model_info{{{ONE}}}"),), hidden=("job",), height=6),
    Panel("model", "Loads", "timeseries", "Times of the load",
          "The whole load, and the part of it that is quantization.",
          (Query(f"octet_model_load_seconds{{{ONE}}}", "{{instance}} load"),
           Query(f"octet_model_quantization_seconds{{{ONE}}}", "{{instance}} quantization")), "s",
          minimum=0, height=6),
    Panel("model", "Loads", "timeseries", "Loaded again",
          "Loads that replaced the model while it served, and those that failed.",
          (Query(f"sum by (result) (increase(octet_model_swap_total{{{ONE}}}{RATE}))",
                 "{{result}}"),), "short", minimum=0, height=6, at_least_to=1),
]  # fmt: skip

CAPACITY = [
    Panel("capacity", "One more replica", "stat", "Replicas", "Servers of the selection.",
          (Query(REPLICAS),), "none", (), 3, 4),
    Panel("capacity", "One more replica", "stat", "Utilisation",
          "CPU time used of the cores that the servers may use.",
          (Query(CPU),), "percentunit", GOOD_WHEN_LOW(0.7, 0.9), 4, 4),
    Panel("capacity", "One more replica", "stat", "Requests now", "Answered with outputs.",
          (Query(REQUESTS),), "reqps", (), 4, 4),
    Panel("capacity", "One more replica", "stat", "Requests at most",
          "Requests now divided by the utilisation: an estimate of what the servers could answer, "
          "poor while there is little load. Batches grow with load, which makes it low.",
          (Query(f"{REQUESTS} / ({CPU} > 0)"),), "reqps", (), 4, 4),
    Panel("capacity", "One more replica", "stat", "With one more replica",
          "The same estimate with one server more, like those there are.",
          (Query(f"{REQUESTS} / ({CPU} > 0) * ({REPLICAS} + 1) / {REPLICAS}"),), "reqps",
          ((None, "green"),), 4, 4),
    Panel("capacity", "One more replica", "stat", "Utilisation with one more",
          "What the same load would use of one server more.",
          (Query(f"{CPU} * {REPLICAS} / ({REPLICAS} + 1)"),), "percentunit",
          GOOD_WHEN_LOW(0.7, 0.9), 5, 4),
    Panel("capacity", "CPU and streams", "timeseries", "CPU by server",
          "Cores in use, and the cores that a server may use (dashed).",
          (Query(f"rate(octet_process_cpu_seconds_total{{{ALL}}}{RATE})", "{{instance}}"),
           Query(f"max(octet_process_cpu_cores{{{ALL}}})", "cores", limit=True)), "short",
          minimum=0),
    Panel("capacity", "CPU and streams", "timeseries", "Streams busy by model",
          "Batches running at the same time, all servers. At the number of streams (dashed) "
          "requests wait.",
          (Query(per_second("octet_stream_busy_seconds_total", ALL, "model"), "{{model}}"),
           Query(f"sum(octet_model_streams{{{ALL}}})", "streams", limit=True)), "short",
          link_to="model", minimum=0),
    Panel("capacity", "CPU and streams", "timeseries", "Utilisation of the streams",
          "Streams busy as a share of the streams there are, by server.",
          (Query(f"sum by (instance) (rate(octet_stream_busy_seconds_total{{{ALL}}}{RATE})) / "
                 f"sum by (instance) (octet_model_streams{{{ALL}}})", "{{instance}}"),),
          "percentunit", minimum=0),
    Panel("capacity", "CPU and streams", "timeseries", "CPU per request",
          "CPU time of the servers divided by requests: what batching and quantization bring down.",
          (Query(f"sum(rate(octet_process_cpu_seconds_total{{{ALL}}}{RATE})) / ({REQUESTS} > 0)",
                 "CPU time"),), "s", minimum=0, width=12),
    Panel("capacity", "CPU and streams", "timeseries", "p99 time in the queue",
          "What waiting costs, by model; it rises before the CPU is used up.",
          (Query(at(ALL, quantile(0.99, "octet_queue_duration_seconds", "model")), "{{model}}"),),
          "s", link_to="model", minimum=0, width=12),
    Panel("capacity", "Memory", "timeseries", "Memory ledger",
          "What Octet accounts for: weights, float32 copies for comparing, activations, temporary "
          "memory of kernels. Above it the resident memory (dashed): the rest is code, libraries, "
          "compiled kernels, requests and freed memory that is kept.",
          (Query(f'sum(octet_model_weight_bytes{{{ALL}, kind="served"}})', "weights"),
           Query(f'sum(octet_model_weight_bytes{{{ALL}, kind="shadow"}}) or vector(0)',
                 "float32 copies"),
           Query(f"sum(octet_model_arena_bytes{{{ALL}}})", "activations"),
           Query(f"sum(octet_model_scratchpad_bytes{{{ALL}}})", "scratchpads"),
           Query(f"sum(octet_process_resident_bytes{{{ALL}}})", "resident", limit=True)), "bytes",
          stacked=True, minimum=0),
    Panel("capacity", "Memory", "timeseries", "Resident memory and its limit",
          "By server; the limit is the container's, or the machine's memory.",
          (Query(f"octet_process_resident_bytes{{{ALL}}}", "{{instance}}"),
           Query(f"min(octet_process_memory_limit_bytes{{{ALL}}})", "smallest limit", limit=True)),
          "bytes", minimum=0),
    Panel("capacity", "Memory", "timeseries", "Memory used of the limit",
          "The dashed line is where OctetMemoryNearLimit begins.",
          (Query(f"octet_process_resident_bytes{{{ALL}}} / "
                 f"octet_process_memory_limit_bytes{{{ALL}}}", "{{instance}}"),),
          "percentunit", ((None, "green"), (0.9, "orange")), minimum=0),
    Panel("capacity", "Memory", "bargauge", "Memory by model",
          "Weights, activations and temporary memory of a model, all servers.",
          (Query(f'sum by (model) (octet_model_weight_bytes{{{ALL}, kind=~"served|shadow"}}) '
                 f"+ sum by (model) (octet_model_arena_bytes{{{ALL}}}) "
                 f"+ sum by (model) (octet_model_scratchpad_bytes{{{ALL}}})", "{{model}}"),),
          "bytes", link_to="model", minimum=0, width=12),
    Panel("capacity", "Memory", "timeseries", "Memory not accounted for",
          "Resident memory less the ledger, by server. What grows here day after day is a leak.",
          (Query(f"octet_process_resident_bytes{{{ALL}}} - on (job, instance) "
                 f"instance:octet_memory_ledger:bytes{{{ALL}}}", "{{instance}}"),), "bytes",
          width=12),
]  # fmt: skip

PANELS = FLEET + MODEL + CAPACITY
