//! The engine over nodes made for the purpose.

mod evaluation;
mod nodes;
mod rendering;
mod time;
mod tracing;

use std::path::Path;
use std::sync::Mutex;

use peel_image::{ColourSpace, Rect};
use peel_node::{Key, KeyBuilder, Node, Result, Span, Value};

use crate::cancel::CancelToken;
use crate::engine::{Engine, EngineOptions};
use crate::eval::Evaluation;
use crate::event::{Event, Summary};
use crate::program::{Program, Source, Unit};
use crate::render::RenderOptions;

type Hash = Box<dyn Fn(i32, &mut KeyBuilder) + Send + Sync>;

/// A graph written down in a test: every node by name, with its inputs by name (`node` or `node.1`).
#[derive(Default)]
pub struct Net {
    names: Vec<String>,
    nodes: Vec<Box<dyn Node>>,
    hashes: Vec<Hash>,
    inputs: Vec<Vec<Source>>,
}

impl Net {
    pub fn add(mut self, name: &str, node: impl Node + 'static, inputs: &[&str]) -> Net {
        let hashed = name.to_owned();
        self = self.add_hashed(name, node, inputs, Box::new(move |_, key| _ = key.str(&hashed)));
        self
    }

    pub fn add_hashed(mut self, name: &str, node: impl Node + 'static, inputs: &[&str], hash: Hash) -> Net {
        let find = |text: &&str| {
            let (name, output) = text.split_once('.').unwrap_or((text, "0"));
            let unit = self.names.iter().position(|known| known == name).unwrap();
            Source {
                unit,
                output: output.parse().unwrap(),
            }
        };
        let inputs = inputs.iter().map(find).collect();
        self.inputs.push(inputs);
        self.names.push(name.to_owned());
        self.nodes.push(Box::new(node));
        self.hashes.push(hash);
        self
    }

    pub fn program(&self) -> Program<'_> {
        let mut units = Vec::new();
        let mut sinks = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let outputs = node.outputs();
            if outputs.is_empty() {
                sinks.push(index);
            }
            units.push(Unit {
                name: &self.names[index],
                span: Span::new(index, index + 1),
                node: &**node,
                hash: &*self.hashes[index],
                consumers: vec![0; outputs.len()],
                outputs,
                inputs: self.inputs[index].iter().copied().map(Some).collect(),
            });
        }
        let mut program = Program {
            units,
            sinks,
            folder: Path::new("."),
            working_space: ColourSpace::default(),
            fingerprint: Key([0; 32]),
            place: Box::new(|span| Some(format!("test.ron:{}:1", span.start + 1))),
        };
        program.count_consumers();
        program
    }

    /// The first output of a node, whole or in part.
    pub fn value(&self, engine: &Engine, name: &str, frame: i32, region: Rect) -> Result<Value> {
        let program = self.program();
        let unit = self.names.iter().position(|known| known == name).unwrap();
        let (events, cancel) = (|_| (), CancelToken::new());
        let eval = Evaluation {
            engine: &engine.shared,
            program: &program,
            events: &events,
            cancel: &cancel,
            files: &Mutex::default(),
        };
        engine.shared.crew.seated(|| {
            let frame = eval.frame(frame);
            eval.pull(&frame, Source { unit, output: 0 }, region, None, 0)
        })
    }

    pub fn key(&self, engine: &Engine, name: &str, frame: i32) -> Key {
        let program = self.program();
        let unit = self.names.iter().position(|known| known == name).unwrap();
        let (events, cancel) = (|_| (), CancelToken::new());
        let eval = Evaluation {
            engine: &engine.shared,
            program: &program,
            events: &events,
            cancel: &cancel,
            files: &Mutex::default(),
        };
        let frame = eval.frame(frame);
        eval.output_key(&frame, Source { unit, output: 0 }, 0).unwrap()
    }

    pub fn render(&self, engine: &Engine, frames: &[i32]) -> (Summary, Vec<Event>) {
        self.render_with(
            engine,
            frames,
            &RenderOptions::default(),
            &CancelToken::new(),
            &|_| (),
        )
    }

    pub fn render_with(
        &self,
        engine: &Engine,
        frames: &[i32],
        options: &RenderOptions,
        cancel: &CancelToken,
        hear: &(dyn Fn(&Event) + Sync),
    ) -> (Summary, Vec<Event>) {
        let program = self.program();
        let told = Mutex::new(Vec::new());
        let events = |event: Event| {
            hear(&event);
            told.lock().unwrap().push(event);
        };
        let eval = Evaluation {
            engine: &engine.shared,
            program: &program,
            events: &events,
            cancel,
            files: &Mutex::default(),
        };
        let summary = eval.render(frames, options);
        (summary, told.into_inner().unwrap())
    }
}

pub fn engine(threads: usize) -> Engine {
    Engine::new(EngineOptions {
        threads,
        ..EngineOptions::default()
    })
}
