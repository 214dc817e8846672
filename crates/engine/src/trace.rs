//! What every node did and when, for `--trace` and `--stats`. Without a trace it costs one look at an option.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::store::Hit;
use crate::sync::lock;

/// A stretch of work.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Work {
    /// A region node filled a band or a tile.
    Fill,
    /// A frame node without inputs made its picture: files were read and decoded.
    Decode,
    /// A frame node made its pictures.
    Render,
    /// A part of a frame node's work that is cached on its own: one mask's run of the model.
    Step,
    /// A node that takes whole pictures waited for one, or made it.
    Pull,
    /// A sink wrote a file: pulled, encoded, written.
    Write,
    /// A part of that: pixels became the bytes of a file.
    Encode,
    /// A look into the caches.
    Cache,
}

impl Work {
    /// A short name.
    pub fn name(self) -> &'static str {
        match self {
            Work::Fill => "fill",
            Work::Decode => "decode",
            Work::Render => "render",
            Work::Step => "step",
            Work::Pull => "pull",
            Work::Write => "write",
            Work::Encode => "encode",
            Work::Cache => "cache",
        }
    }
}

/// One stretch of work of one node on one thread. Those of one thread lie in each other or apart.
#[derive(Clone, Debug)]
pub struct Record {
    /// The node.
    pub node: String,
    /// The frame.
    pub frame: i32,
    /// What it did.
    pub work: Work,
    /// A small number of the thread; used again once the thread is over.
    pub thread: u32,
    /// From the beginning of the trace.
    pub start: Duration,
    /// How long it took.
    pub took: Duration,
    /// Bytes of the pictures made, or of the file written.
    pub bytes: u64,
    /// For [`Work::Cache`]: where the result was found.
    pub hit: Option<Hit>,
}

/// Collects records.
pub struct Trace {
    begun: Instant,
    records: Mutex<Vec<Record>>,
}

/// A stretch of work that is going on; recorded when dropped.
pub(crate) struct Going<'t> {
    trace: &'t Trace,
    begun: Instant,
    record: Record,
}

impl Trace {
    pub(crate) fn new() -> Trace {
        Trace {
            begun: Instant::now(),
            records: Mutex::default(),
        }
    }

    /// What was recorded since the last look, in the order of its end.
    pub fn take(&self) -> Vec<Record> {
        std::mem::take(&mut *lock(&self.records))
    }

    pub(crate) fn begin(&self, node: &str, frame: i32, work: Work) -> Going<'_> {
        let begun = Instant::now();
        Going {
            trace: self,
            begun,
            record: Record {
                node: node.to_owned(),
                frame,
                work,
                thread: thread_number(),
                start: begun.duration_since(self.begun),
                took: Duration::ZERO,
                bytes: 0,
                hit: None,
            },
        }
    }
}

impl Going<'_> {
    /// Bytes that came out of it.
    pub fn made(&mut self, bytes: u64) {
        self.record.bytes += bytes;
    }

    /// Where the result was found.
    pub fn found(&mut self, hit: Hit) {
        self.record.hit = Some(hit);
    }
}

impl Drop for Going<'_> {
    fn drop(&mut self) {
        self.record.took = self.begun.elapsed();
        lock(&self.trace.records).push(self.record.clone());
    }
}

/// The smallest number that no living thread has.
fn thread_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    static FREE: Mutex<Vec<u32>> = Mutex::new(Vec::new());
    struct Number(u32);
    impl Drop for Number {
        fn drop(&mut self) {
            lock(&FREE).push(self.0);
        }
    }
    thread_local! {
        static NUMBER: Number = Number({
            let mut free = lock(&FREE);
            let lowest = free.iter().enumerate().min_by_key(|(_, number)| **number).map(|(at, _)| at);
            match lowest {
                Some(at) => free.swap_remove(at),
                None => NEXT.fetch_add(1, Ordering::Relaxed),
            }
        });
    }
    // A thread that is ending has no number any more.
    NUMBER.try_with(|number| number.0).unwrap_or(0)
}

/// What a node did, added up.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct NodeStats {
    /// The node.
    pub node: String,
    /// Bands filled, pictures rendered, files written.
    pub calls: u64,
    /// Time in the node itself, without the nodes that it pulled from on the same thread; all threads added up.
    pub own: Duration,
    /// Bytes that came out of it.
    pub bytes: u64,
    /// Results found in memory.
    pub memory_hits: u64,
    /// Results found on disk.
    pub disk_hits: u64,
    /// Results that had to be made.
    pub made: u64,
}

/// Adds records up by node; the dearest first.
pub fn stats(records: &[Record]) -> Vec<NodeStats> {
    let mut by_node: BTreeMap<&str, NodeStats> = BTreeMap::new();
    let mut order: Vec<&Record> = records.iter().collect();
    // Of two that begin together the longer one is around the other.
    order.sort_by_key(|record| (record.thread, record.start, std::cmp::Reverse(record.took)));
    let mut open: Vec<(&Record, Duration)> = Vec::new();
    let close = |by_node: &mut BTreeMap<_, NodeStats>, (record, inner): (&Record, Duration)| {
        if let Some(stats) = by_node.get_mut(record.node.as_str()) {
            stats.own += record.took.saturating_sub(inner);
        }
    };
    for record in order {
        let stats = by_node.entry(record.node.as_str()).or_insert_with(|| NodeStats {
            node: record.node.clone(),
            ..NodeStats::default()
        });
        match record.work {
            Work::Cache => match record.hit {
                Some(Hit::Memory) => stats.memory_hits += 1,
                Some(Hit::Disk) => stats.disk_hits += 1,
                Some(Hit::Made) => stats.made += 1,
                None => {}
            },
            Work::Fill | Work::Decode | Work::Render | Work::Write => {
                stats.calls += 1;
                stats.bytes += record.bytes;
            }
            Work::Step | Work::Pull | Work::Encode => {}
        }
        let after = |(outer, _): &(&Record, Duration)| {
            outer.thread != record.thread || outer.start + outer.took <= record.start
        };
        while let Some(over) = open.pop_if(|outer| after(outer)) {
            close(&mut by_node, over);
        }
        if let Some((_, inner)) = open.last_mut() {
            *inner += record.took;
        }
        open.push((record, Duration::ZERO));
    }
    while let Some(over) = open.pop() {
        close(&mut by_node, over);
    }
    let mut all: Vec<NodeStats> = by_node.into_values().collect();
    all.sort_by_key(|stats| std::cmp::Reverse(stats.own));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(node: &str, work: Work, thread: u32, start: u64, took: u64) -> Record {
        Record {
            node: node.to_owned(),
            frame: 1,
            work,
            thread,
            start: Duration::from_millis(start),
            took: Duration::from_millis(took),
            bytes: 10,
            hit: None,
        }
    }

    #[test]
    fn a_nodes_own_time_leaves_out_what_it_pulled() {
        let records = [
            record("read", Work::Decode, 1, 10, 20),
            record("grade", Work::Fill, 1, 5, 40),
            record("grade", Work::Fill, 2, 0, 30),
            record("out", Work::Pull, 1, 1, 50),
            record("out", Work::Write, 1, 0, 100),
            record("read", Work::Decode, 1, 200, 1),
        ];
        let own: Vec<(String, u128, u64)> = stats(&records)
            .into_iter()
            .map(|stats| (stats.node, stats.own.as_millis(), stats.calls))
            .collect();
        assert_eq!(
            own,
            [
                ("out".into(), 60, 1),
                ("grade".into(), 50, 2),
                ("read".into(), 21, 2)
            ]
        );
    }

    #[test]
    fn thread_numbers_are_used_again() {
        let numbers: Vec<u32> = (0..50)
            .map(|_| std::thread::spawn(thread_number).join().unwrap())
            .collect();
        // Other tests may run beside this one.
        assert!(numbers.iter().all(|&number| number < 40), "{numbers:?}");
    }
}
