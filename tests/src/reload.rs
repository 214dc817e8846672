//! Reloading again and again leaves the state of one load. `PEEL_RELOADS=200` reloads more often.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use peel_image::Rect;

use crate::program::command;
use crate::support::write_picture;

const GRAPH: &str = r#"Graph(format: 1, frames: "1", nodes: {
    "plate": Read(path: "plates/plate.exr"),
    "lit": Group(path: "gizmos/lit.ron", picture: "plate", stops: 0.5),
    "out": Write(input: "lit", path: "renders/out.exr"),
})"#;

const LIT: &str = r#"Group(
    format: 1,
    inputs: {"picture": Layer},
    parameters: {"stops": Number()},
    nodes: {"lit": Recolor(input: "picture", exposure: Param("stops"), saturation: 1.25)},
    outputs: {"out": "lit"},
)"#;

/// Reloads after which everything has been there that a reload needs: three of each kind.
const SETTLED: usize = 20;

struct Session {
    child: Child,
    said: Receiver<String>,
}

/// What must not grow.
#[derive(Debug)]
struct State {
    /// The most that there ever was, in kB.
    memory: u64,
    threads: u64,
    watches: usize,
    files: usize,
}

impl Session {
    fn start(folder: &Path) -> Session {
        // So little memory that the results of old versions cannot pile up for long before they go; one thread, so that what is
        // held at one time does not depend on who came first; and an allocator that gives back at once what is free, since what it
        // keeps for a moment depends on the clock.
        let mut child = command(
            folder,
            &["watch", "graph.ron", "--no-cache", "--threads=1", "--memory=4MB"],
        )
        .env("MIMALLOC_PURGE_DELAY", "0")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("peel watch");
        let (say, said) = channel();
        let lines = BufReader::new(child.stderr.take().expect("its voice")).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).all(|line| say.send(line).is_ok()));
        Session { child, said }
    }

    fn until(&self, words: &str) {
        let mut heard = Vec::new();
        loop {
            let line = self.said.recv_timeout(Duration::from_secs(60));
            heard.push(line.unwrap_or_else(|_| panic!("{words:?} is not said: {heard:#?}")));
            if heard.last().is_some_and(|line| line.contains(words)) {
                return;
            }
        }
    }

    /// Its state once it has nothing to do.
    fn state(&self) -> State {
        std::thread::sleep(Duration::from_secs(1));
        let proc = Path::new("/proc").join(self.child.id().to_string());
        let status = fs::read_to_string(proc.join("status")).expect("its status");
        let number = |field: &str| {
            let line = status
                .lines()
                .find(|line| line.starts_with(field))
                .expect("a field");
            let digits: String = line.chars().filter(char::is_ascii_digit).collect();
            digits.parse().expect("a number")
        };
        let infos: Vec<_> = fs::read_dir(proc.join("fdinfo"))
            .expect("its files")
            .flatten()
            .collect();
        let watches = infos
            .iter()
            .filter_map(|info| fs::read_to_string(info.path()).ok());
        State {
            memory: number("VmHWM:"),
            threads: number("Threads:"),
            watches: watches.map(|info| info.matches("inotify wd").count()).sum(),
            files: infos.len(),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn save(path: &Path, text: &str, how: usize) {
    match how % 3 {
        // In place; by renaming; slowly, in two halves.
        0 => fs::write(path, text).expect("a save"),
        1 => {
            let beside = path.with_extension("ron~");
            fs::write(&beside, text).expect("a save");
            fs::rename(beside, path).expect("a rename");
        }
        _ => {
            fs::write(path, &text[..text.len() / 2]).expect("half a save");
            std::thread::sleep(Duration::from_millis(5));
            fs::write(path, text).expect("a save");
        }
    }
}

#[test]
fn many_reloads_leave_the_state_of_one_load() {
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path();
    for part in ["plates", "gizmos"] {
        fs::create_dir(here.join(part)).expect("a folder");
    }
    let plate = |light: f32| {
        write_picture(&here.join("plates/plate.exr"), Rect::of_size(320, 180), |x, _| {
            [light, x as f32 / 320.0, 0.1, 1.0]
        });
    };
    plate(0.2);
    fs::write(here.join("graph.ron"), GRAPH).expect("a graph");
    fs::write(here.join("gizmos/lit.ron"), LIT).expect("a group");
    let session = Session::start(here);
    session.until("after the save");
    let picture = || fs::read(here.join("renders/out.exr")).expect("the picture");

    let reloads = std::env::var("PEEL_RELOADS")
        .ok()
        .and_then(|n| n.parse::<usize>().ok())
        .unwrap_or(40)
        .max(SETTLED + 1);
    let mut settled = None;
    for reload in 0..reloads {
        let before = picture();
        let value = format!("{}", 0.6 + reload as f32 / 100.0);
        match reload % 6 {
            0 | 1 => save(&here.join("graph.ron"), &GRAPH.replace("0.5", &value), reload),
            2 => save(&here.join("gizmos/lit.ron"), &LIT.replace("1.25", &value), reload),
            3 => plate(0.2 + reload as f32),
            4 => {
                // The folder of the group goes away and comes back.
                fs::rename(here.join("gizmos"), here.join("elsewhere")).expect("a rename");
                session.until("last good pictures stay");
                assert!(picture() == before, "the last good picture stays");
                fs::rename(here.join("elsewhere"), here.join("gizmos")).expect("a rename");
                fs::write(here.join("gizmos/lit.ron"), LIT.replace("1.25", &value)).expect("a group");
            }
            _ => {
                // A mistake in the group is told with the group's place.
                fs::write(here.join("gizmos/lit.ron"), LIT.replace("exposure", "exposre")).expect("a group");
                session.until("lit.ron:5:");
                session.until("last good pictures stay");
                fs::write(here.join("gizmos/lit.ron"), LIT.replace("1.25", &value)).expect("a group");
            }
        }
        session.until("after the save");
        assert!(picture() != before, "reload {reload} changed nothing");
        if reload + 1 == SETTLED {
            settled = Some(session.state());
        }
    }
    let before = settled.expect("a state");
    let of_one_load = |state: &State| {
        (state.threads, state.watches, state.files) == (before.threads, before.watches, before.files)
    };
    // On a busy machine the threads of the last render may take their time.
    let after = (0..20).map(|_| session.state()).find(of_one_load);
    let after = after.unwrap_or_else(|| panic!("{before:?}, in the end {:?}", session.state()));
    println!("after {SETTLED} reloads {before:?}, after {reloads} {after:?}");
    assert!(
        after.memory <= before.memory + before.memory / 50,
        "{before:?} {after:?}"
    );
}
