"""Panels of the process itself: when users feel something and no upstream is to blame, look here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.panels import lines, table
from grafana.queries import JOB, Query, quantile, rate

if TYPE_CHECKING:
    from grafana.panels import Panel


def runtime() -> list[Panel]:
    """Return the panels of the row about the process."""
    return [
        lines(
            "CPU",
            "Cores in use by each instance. One worker cannot use more than one.",
            [Query(rate("process_cpu_seconds_total", JOB, "instance"), "{{instance}}")],
            "short",
            w=6,
        ),
        lines(
            "Resident memory",
            "Memory of each instance. It does not grow with the size of uploads.",
            [Query(f"sum by (instance) (process_resident_memory_bytes{{{JOB}}})", "{{instance}}")],
            "bytes",
            w=6,
        ),
        lines(
            "File descriptors",
            "Share of the file descriptors that each instance may open.",
            [Query(f"process_open_fds{{{JOB}}} / process_max_fds{{{JOB}}}", "{{instance}}")],
            "percentunit",
            limit=0.8,
            w=6,
        ),
        lines(
            "Event loop lag p99",
            "How late the event loop ran what was due. Above 100 ms every stream of the process feels it.",
            [Query(quantile(0.99, "audiogate_event_loop_lag_seconds", JOB, "instance"), "{{instance}}")],
            "s",
            limit=0.1,
            w=6,
        ),
        lines(
            "Garbage collections",
            "Runs of Python's collector per second, by generation.",
            [Query(rate("python_gc_collections_total", JOB, "generation"), "generation {{generation}}")],
            "ops",
            w=6,
        ),
        lines(
            "Records written",
            "Records per second by sink and by what became of them. Dropped ones are lost.",
            [Query(rate("audiogate_log_records_total", JOB, "sink", "result"), "{{sink}}, {{result}}")],
            "ops",
            w=6,
        ),
        lines(
            "Records waiting",
            "Records in the queue of each sink.",
            [Query(f"sum by (sink) (audiogate_log_queue_records{{{JOB}}})", "{{sink}}")],
            "short",
            w=6,
        ),
        lines(
            "Record write time p95",
            "How long one batch of records took to be written.",
            [Query(quantile(0.95, "audiogate_log_flush_seconds", JOB, "sink"), "{{sink}}")],
            "s",
            w=6,
        ),
        table(
            "Instances",
            "What runs, and whether it is well. Settings that were refused: the gateway goes on with those it had.",
            [
                (
                    "",
                    "none",
                    Query(f"max by (instance, version, python) (audiogate_build_info{{{JOB}}})", instant=True),
                ),
                (
                    "Up for",
                    "s",
                    Query(f"time() - max by (instance) (process_start_time_seconds{{{JOB}}})", instant=True),
                ),
                ("Workers", "short", Query(f"max by (instance) (audiogate_workers{{{JOB}}})", instant=True)),
                (
                    "Settings",
                    "short",
                    Query(f"min by (instance) (audiogate_config_last_reload_successful{{{JOB}}})", instant=True),
                ),
                ("Draining", "short", Query(f"max by (instance) (audiogate_draining{{{JOB}}})", instant=True)),
            ],
            w=16,
            h=6,
            labels=("instance", "version", "python"),
            words={"Settings": {0: "refused", 1: "in force"}, "Draining": {0: "no", 1: "yes"}},
        ),
        lines(
            "Labels folded",
            "Label values per second that became _other because there were too many.",
            [Query(rate("audiogate_metric_label_overflow_total", JOB, "label"), "{{label}}")],
            "ops",
            w=8,
            h=6,
        ),
    ]
