//! Nodes that look at other frames of their inputs.

use peel_image::{Layer, Rect};
use peel_node::{
    At, Format, Input, KeyBuilder, Node, Output, RegionNode, Result, SocketType, Temperament, Value, socket,
};

use super::nodes::*;
use super::{Hash, Net, engine};

const WINDOW: Rect = Rect {
    x0: 0,
    y0: 0,
    x1: 9,
    y1: 40,
};

/// The sum of the input at the frames `announced` before its own; looks at `looked` instead where that differs.
struct Mix {
    announced: Vec<i32>,
    looked: Vec<i32>,
}

impl Mix {
    fn of(offsets: &[i32]) -> Mix {
        Mix {
            announced: offsets.to_vec(),
            looked: offsets.to_vec(),
        }
    }
}

impl Node for Mix {
    fn outputs(&self) -> Vec<Output> {
        Output::only(SocketType::Layer)
    }
    fn temperament(&self) -> Temperament<'_> {
        Temperament::Region(self)
    }
    fn input_frames(&self, _: usize, frame: i32) -> Vec<i32> {
        self.announced.iter().map(|offset| frame - offset).collect()
    }
    fn format(&self, at: &At<'_>, _: usize) -> Result<Format> {
        let input: Input<socket::Layer> = Input::on_slot(0);
        at.on_frame(at.frame - self.announced[0]).format(&input)
    }
}

impl RegionNode for Mix {
    fn fill(&self, at: &At<'_>, _: usize, region: Rect) -> Result<Value> {
        let input: Input<socket::Layer> = Input::on_slot(0);
        let mut sum = Layer::new(WINDOW, region);
        for offset in &self.looked {
            let other = at.on_frame(at.frame - offset).layer(&input, region)?;
            for (a, b) in sum.pixels_mut().iter_mut().zip(other.pixels()) {
                (0..4).for_each(|c| a[c] += b[c]);
            }
        }
        Ok(sum.into())
    }
}

/// A picture that differs from frame to frame, and says so in its key.
fn moving() -> (Ramp, Hash) {
    let ramp = Ramp {
        window: WINDOW,
        ..Ramp::default()
    };
    (
        ramp,
        Box::new(|frame: i32, key: &mut KeyBuilder| _ = key.int(frame.into())),
    )
}

fn net(nodes: Vec<(&str, Mix, &str)>) -> Net {
    let (ramp, hash) = moving();
    let mut net = Net::default().add_hashed("ramp", ramp, &[], hash);
    for (name, mix, input) in nodes {
        let offsets = format!("{:?}", mix.announced);
        let hash: Hash = Box::new(move |_, key| _ = key.str(&offsets));
        net = net.add_hashed(name, mix, &[input], hash);
    }
    net
}

/// What the ramp's third channel, its frame, has become.
fn blue(net: &Net, threads: usize, name: &str, frame: i32) -> f32 {
    let layer = layer_of(net.value(&engine(threads), name, frame, WINDOW).unwrap());
    layer.get(3, 30)[2]
}

#[test]
fn pixels_come_from_the_frames_looked_at() {
    let net = net(vec![
        ("late", Mix::of(&[3]), "ramp"),
        ("again", Mix::of(&[-1]), "late"),
        ("around", Mix::of(&[-1, 0, 1]), "again"),
    ]);
    for threads in [1, 4] {
        assert_eq!(blue(&net, threads, "late", 10), 7.0);
        assert_eq!(blue(&net, threads, "again", 10), 8.0);
        assert_eq!(blue(&net, threads, "around", 10), 7.0 + 8.0 + 9.0);
    }
}

#[test]
fn keys_follow_the_frames_looked_at() {
    let net = net(vec![
        ("late", Mix::of(&[3]), "ramp"),
        ("early", Mix::of(&[-2]), "ramp"),
        ("around", Mix::of(&[-1, 1]), "ramp"),
    ]);
    let engine = engine(1);
    let key = |name, frame| net.key(&engine, name, frame);
    assert_ne!(key("late", 10), key("late", 11));
    assert_ne!(key("late", 10), key("early", 10));
    assert_ne!(key("around", 10), key("around", 12));
    assert_eq!(key("ramp", 7), key("ramp", 7));
}

#[test]
fn a_chain_of_looks_in_all_directions_stays_small() {
    // Looked at one by one, this would be 3^40 frames.
    let names: Vec<String> = (0..40).map(|i| format!("mix{i}")).collect();
    let mut nodes = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let input = if i == 0 { "ramp" } else { names[i - 1].as_str() };
        nodes.push((name.as_str(), Mix::of(&[-1, 0, 1]), input));
    }
    let net = net(nodes);
    assert_ne!(net.key(&engine(1), "mix39", 10), net.key(&engine(1), "mix39", 11));
}

#[test]
fn a_frame_that_is_not_announced_cannot_be_looked_at() {
    let liar = Mix {
        announced: vec![1],
        looked: vec![2],
    };
    let error = net(vec![("liar", liar, "ramp")])
        .value(&engine(1), "liar", 10, WINDOW)
        .unwrap_err();
    assert!(
        error.to_string().contains("frame 8") && error.to_string().contains("a fault in the node"),
        "{error}"
    );
}

/// A node that looks at the frames around it, as far as they are there.
struct Around;

impl Node for Around {
    fn outputs(&self) -> Vec<Output> {
        Output::only(SocketType::Layer)
    }
    fn temperament(&self) -> Temperament<'_> {
        Temperament::Region(self)
    }
    fn neighbour_frames(&self, _: usize, frame: i32) -> Vec<i32> {
        vec![frame - 1, frame + 1]
    }
    fn format(&self, at: &At<'_>, _: usize) -> Result<Format> {
        at.format(&Input::<socket::Layer>::on_slot(0))
    }
}

impl RegionNode for Around {
    fn fill(&self, at: &At<'_>, _: usize, region: Rect) -> Result<Value> {
        let input: Input<socket::Layer> = Input::on_slot(0);
        let there = |frame: i32| at.on_frame(frame).input_key(&input).is_ok();
        let frames = [at.frame - 1, at.frame, at.frame + 1];
        let count = frames
            .into_iter()
            .filter(|&frame| frame == at.frame || there(frame))
            .count();
        Ok(Layer::from_fn(WINDOW, region, |_, _| [0.0, 0.0, count as f32, 1.0]).into())
    }
}

/// A ramp without frame 9.
struct Gap(Ramp);

impl Node for Gap {
    fn outputs(&self) -> Vec<Output> {
        self.0.outputs()
    }
    fn temperament(&self) -> Temperament<'_> {
        self.0.temperament()
    }
    fn format(&self, at: &At<'_>, output: usize) -> Result<Format> {
        self.0.format(at, output)
    }
    fn identity(&self, at: &At<'_>, _: &mut KeyBuilder) -> Result<()> {
        if at.frame == 9 {
            return Err(peel_node::Error::message("there is no frame 9"));
        }
        Ok(())
    }
}

#[test]
fn a_missing_neighbour_is_passed_over_and_a_missing_frame_is_not() {
    let (ramp, hash) = moving();
    let net = Net::default()
        .add_hashed("ramp", Gap(ramp), &[], hash)
        .add("around", Around, &["ramp"]);
    assert_eq!(blue(&net, 1, "around", 5), 3.0);
    assert_eq!(blue(&net, 1, "around", 8), 2.0);
    assert!(net.value(&engine(1), "around", 9, WINDOW).is_err());
    let whole = {
        let (ramp, hash) = moving();
        Net::default()
            .add_hashed("ramp", ramp, &[], hash)
            .add("around", Around, &["ramp"])
    };
    let key = |net: &Net, frame| net.key(&engine(1), "around", frame);
    assert_eq!(key(&net, 5), key(&whole, 5));
    assert_ne!(
        key(&net, 8),
        key(&whole, 8),
        "that a neighbour is missing changes the key"
    );
}
