//! `--trace` and `--stats`: what every node did, for a trace viewer and as a table.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use peel_engine::{Engine, Hit, Record, Work, stats};
use serde_json::{Value, json};

use crate::exit::{Result, Stop};
use crate::output::{self, human_bytes, human_time};

/// What to tell of the nodes' work.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Tracing")]
pub struct TraceArgs {
    /// Write what every node did, and when, as a Chrome trace (for ui.perfetto.dev or chrome://tracing).
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,

    /// Print a table of the nodes at the end: calls, time in the node itself, bytes made, cache hits.
    #[arg(long)]
    stats: bool,
}

impl TraceArgs {
    /// Whether anything is to be recorded.
    pub fn wanted(&self) -> bool {
        self.stats || self.trace.is_some()
    }

    /// Tells what an engine has recorded.
    pub fn tell(&self, engine: &Engine) -> Result<()> {
        let Some(trace) = engine.trace() else {
            return Ok(());
        };
        let records = trace.take();
        if let Some(path) = &self.trace {
            write(path, &records)
                .map_err(|error| Stop::failed(format!("{}: cannot be written: {error}", path.display())))?;
        }
        if self.stats {
            output::message(table(&records).trim_end());
        }
        Ok(())
    }
}

/// One complete event (`"ph": "X"`) a record; times in microseconds.
fn event(record: &Record) -> Value {
    let mut args = json!({ "frame": record.frame, "bytes": record.bytes });
    if let Some(hit) = record.hit {
        args["cache"] = json!(match hit {
            Hit::Memory => "memory",
            Hit::Disk => "disk",
            Hit::Made => "made",
        });
    }
    json!({
        "name": record.node,
        "cat": record.work.name(),
        "ph": if record.work == Work::Cache { "i" } else { "X" },
        "s": "t",
        "pid": 1,
        "tid": record.thread,
        "ts": record.start.as_secs_f64() * 1e6,
        "dur": record.took.as_secs_f64() * 1e6,
        "args": args,
    })
}

fn write(path: &Path, records: &[Record]) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    out.write_all(b"{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n")?;
    for (index, record) in records.iter().enumerate() {
        let comma = if index + 1 < records.len() { "," } else { "" };
        writeln!(out, "{}{comma}", event(record))?;
    }
    out.write_all(b"]}\n")?;
    out.flush()
}

/// The nodes, the dearest first.
fn table(records: &[Record]) -> String {
    let all = stats(records);
    let widest = all
        .iter()
        .map(|stats| stats.node.chars().count())
        .max()
        .unwrap_or(0)
        .max(4);
    let mut text = format!(
        "{:widest$}  {:>8}  {:>10}  {:>10}  {:>7}  {:>6}  {:>6}\n",
        "node", "calls", "own time", "bytes", "memory", "disk", "made"
    );
    for stats in all {
        text += &format!(
            "{:widest$}  {:>8}  {:>10}  {:>10}  {:>7}  {:>6}  {:>6}\n",
            stats.node,
            stats.calls,
            human_time(stats.own),
            human_bytes(stats.bytes),
            stats.memory_hits,
            stats.disk_hits,
            stats.made
        );
    }
    text
}
