//! `peel watch` as an editor drives it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]
#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const GRAPH: &str = r#"Graph(
    format: 1,
    frames: "1-2",
    nodes: {
        "plate": Read(path: "plate.exr"),
        "warm": Recolor(input: "plate", exposure: 0.5),
        "same": Write(input: "plate", path: "renders/same.####.exr"),
        "out": Write(input: "warm", path: "renders/warm.####.exr"),
    },
)
"#;

/// A picture of one colour.
const PLATE: &str = r#"Graph(
    format: 1,
    frames: "1",
    nodes: {
        "flat": Constant(colour: (0.5, 0.25, 0.125), width: 64, height: 48),
        "out": Write(input: "flat", path: "plate.exr"),
    },
)
"#;

/// A watch session and what it says.
struct Session {
    child: Child,
    said: Receiver<String>,
}

impl Session {
    fn start(folder: &Path) -> Session {
        let mut child = Command::new(env!("CARGO_BIN_EXE_peel"))
            .current_dir(folder)
            .args(["watch", "shot.ron", "--no-cache"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (say, said) = channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).all(|line| say.send(line).is_ok()));
        Session { child, said }
    }

    /// What is said up to a line with these words.
    fn until(&self, words: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self
                .said
                .recv_timeout(Duration::from_secs(20))
                .unwrap_or_else(|_| panic!("{words}? {lines:?}"));
            lines.push(line);
            if lines.last().is_some_and(|line| line.contains(words)) {
                return lines;
            }
        }
    }

    fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-INT", &pid])
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(self.child.wait().unwrap().code(), Some(130));
    }
}

fn make_plate(folder: &Path, text: &str) {
    fs::write(folder.join("make.ron"), text).unwrap();
    let made = Command::new(env!("CARGO_BIN_EXE_peel"))
        .current_dir(folder)
        .args(["render", "make.ron", "--progress", "none", "--no-cache"])
        .status();
    assert!(made.unwrap().success());
}

#[test]
fn saves_broken_saves_and_changed_files() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    make_plate(here, PLATE);
    fs::write(here.join("shot.ron"), GRAPH).unwrap();
    let session = Session::start(here);
    session.until("after the save");
    let file = |name: &str| fs::read(here.join("renders").join(name)).unwrap();
    let (warm, same) = (file("warm.0001.exr"), file("same.0001.exr"));

    // One value changed, saved as editors do: written beside and renamed. Only what depends on it is written.
    fs::write(here.join("shot.ron~"), GRAPH.replace("0.5", "1.5")).unwrap();
    fs::rename(here.join("shot.ron~"), here.join("shot.ron")).unwrap();
    let said = session.until("after the save");
    assert!(
        said.iter().any(|line| line.contains("2 files written, 2 left")),
        "{said:?}"
    );
    let warmer = file("warm.0001.exr");
    assert!(warmer != warm && file("same.0001.exr") == same);

    // The files that it wrote itself are no reason to render again.
    assert!(session.said.recv_timeout(Duration::from_secs(1)).is_err());

    // A broken save is diagnosed, and the last good pictures stay.
    fs::write(here.join("shot.ron"), GRAPH.replace("exposure", "exposre")).unwrap();
    let said = session.until("last good pictures stay");
    assert!(said.iter().any(|line| line.contains("shot.ron:6:")), "{said:?}");
    assert!(file("warm.0001.exr") == warmer);

    // The graph vanishes and returns.
    fs::remove_file(here.join("shot.ron")).unwrap();
    session.until("last good pictures stay");
    fs::write(here.join("shot.ron"), GRAPH).unwrap();
    session.until("after the save");

    // Another plate under the same name: both sinks follow.
    make_plate(here, &PLATE.replace("0.125", "0.75"));
    let said = session.until("after the save");
    assert!(
        said.iter().any(|line| line.contains("4 files written")),
        "{said:?}"
    );
    assert!(file("same.0001.exr") != same);

    // A plate that vanishes fails; when it is back, so are the pictures.
    fs::remove_file(here.join("plate.exr")).unwrap();
    let said = session.until("after the save");
    assert!(said.iter().any(|line| line.contains("node `plate`")), "{said:?}");
    make_plate(here, PLATE);
    session.until("4 files written");
    session.stop();
}
