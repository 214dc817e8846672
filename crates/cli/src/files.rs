//! Watching files: any change, however the editor or the network brings it about.
//!
//! What counts is what a file *is* (size and modification time), not which events the system reports for it:
//! editors rename, truncate, delete and restore. Events only shorten the wait for the next look, and where there
//! are none (network drives) looks are taken regularly anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// Between two looks without events.
const PATIENCE: Duration = Duration::from_millis(300);

/// How long a file stays as it is when nobody is writing it any more.
const SETTLE: Duration = Duration::from_millis(30);

/// A file that never settles is looked at all the same after this time.
const LONGEST: Duration = Duration::from_secs(3);

/// Size and modification time (nanoseconds since 1970) of a file; `None` where it is not there.
pub type Stamp = Option<(u64, i128)>;

/// What the file is now.
pub fn stamp(path: &Path) -> Stamp {
    let meta = fs::metadata(path).ok()?;
    let modified = match meta.modified().ok()?.duration_since(UNIX_EPOCH) {
        Ok(since) => since.as_nanos() as i128,
        Err(before) => -(before.duration().as_nanos() as i128),
    };
    Some((meta.len(), modified))
}

/// Files as they were when they were last looked at.
pub struct Watch {
    known: BTreeMap<PathBuf, Stamp>,
    events: Receiver<()>,
    /// `None` where the system has no events to offer.
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
    /// A file that changes within this time is still being written.
    settle: Duration,
}

/// Files that changed, and when the latest of them was saved.
pub struct Change {
    /// The files.
    pub files: Vec<PathBuf>,
    /// The modification time of the newest, or now, where files went away.
    pub saved: SystemTime,
}

impl Watch {
    /// Watches nothing yet.
    pub fn new() -> Watch {
        let (sender, events) = channel();
        let hear = move |event: notify::Result<notify::Event>| {
            // Reading a file is an event too, and it is what we do ourselves.
            if !matches!(
                event,
                Ok(notify::Event {
                    kind: EventKind::Access(_),
                    ..
                })
            ) {
                let _ = sender.send(());
            }
        };
        let watcher = notify::recommended_watcher(hear).ok();
        Watch {
            known: BTreeMap::new(),
            events,
            watcher,
            folders: BTreeSet::new(),
            settle: SETTLE,
        }
    }

    /// Watches these files as well; they were as given when last looked at.
    pub fn add(&mut self, files: BTreeMap<PathBuf, Stamp>) {
        for (path, stamp) in files {
            self.known.entry(path).or_insert(stamp);
        }
        self.arm();
    }

    /// Forgets the other files.
    pub fn keep(&mut self, wanted: impl Fn(&PathBuf) -> bool) {
        self.known.retain(|path, _| wanted(path));
    }

    /// Waits for a change for as long as a look takes to be due; `None` where there is none yet.
    pub fn wait(&mut self) -> Option<Change> {
        match self.events.recv_timeout(PATIENCE) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(PATIENCE),
        }
        self.look()
    }

    /// What has changed since the last look, once it has settled.
    fn look(&mut self) -> Option<Change> {
        let mut now = self.changed();
        if now.is_empty() {
            return None;
        }
        let begun = Instant::now();
        loop {
            std::thread::sleep(self.settle);
            let later = self.changed();
            let settled = later == now;
            now = later;
            if settled || begun.elapsed() > LONGEST {
                break;
            }
        }
        while self.events.try_recv().is_ok() {}
        let newest = now.values().flatten().map(|(_, modified)| *modified).max();
        let gone = now.values().any(Option::is_none);
        let saved = newest
            .filter(|_| !gone)
            .and_then(|nanos| u64::try_from(nanos).ok());
        let saved = saved.map_or_else(SystemTime::now, |nanos| UNIX_EPOCH + Duration::from_nanos(nanos));
        let files: Vec<PathBuf> = now.keys().cloned().collect();
        self.known.extend(now);
        // Folders may have been replaced together with the files in them.
        self.arm();
        (!files.is_empty()).then_some(Change { files, saved })
    }

    fn changed(&self) -> BTreeMap<PathBuf, Stamp> {
        let now = self
            .known
            .iter()
            .map(|(path, before)| (path, before, stamp(path)));
        now.filter(|(_, before, now)| *before != now)
            .map(|(path, _, now)| (path.clone(), now))
            .collect()
    }

    /// Asks the system for events in all folders that hold our files. A file that is replaced by another is
    /// seen by its folder, not by itself.
    fn arm(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted: BTreeSet<PathBuf> = self
            .known
            .keys()
            .filter_map(|path| existing_folder(path))
            .collect();
        for folder in self.folders.difference(&wanted) {
            let _ = watcher.unwatch(folder);
        }
        for folder in &wanted {
            // Again for those that are watched already: the folder may be a new one of the same name. Where
            // the system refuses, the regular looks remain.
            let _ = watcher.watch(folder, RecursiveMode::NonRecursive);
        }
        self.folders = wanted;
    }
}

/// The nearest folder above a path that exists.
fn existing_folder(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    absolute
        .ancestors()
        .skip(1)
        .find(|folder| folder.is_dir())
        .map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until_change(watch: &mut Watch) -> Change {
        (0..50).find_map(|_| watch.wait()).unwrap()
    }

    #[test]
    fn saves_renames_removals_and_returns_are_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (file, other) = (folder.path().join("sub/a.ron"), folder.path().join("sub/a.tmp"));
        fs::create_dir(folder.path().join("sub")).unwrap();
        fs::write(&file, "one").unwrap();
        let mut watch = Watch::new();
        watch.add(BTreeMap::from([(file.clone(), stamp(&file))]));
        assert!(watch.wait().is_none());

        fs::write(&file, "three").unwrap();
        assert_eq!(until_change(&mut watch).files, std::slice::from_ref(&file));
        fs::write(&other, "by rename").unwrap();
        fs::rename(&other, &file).unwrap();
        assert_eq!(until_change(&mut watch).files, std::slice::from_ref(&file));
        fs::remove_dir_all(folder.path().join("sub")).unwrap();
        until_change(&mut watch);
        // The clock of files may lag behind by some milliseconds.
        let before = SystemTime::now() - Duration::from_secs(1);
        fs::create_dir(folder.path().join("sub")).unwrap();
        fs::write(&file, "back").unwrap();
        assert!(until_change(&mut watch).saved >= before);
        assert!(watch.wait().is_none());
    }

    /// As on a network drive.
    #[test]
    fn changes_are_found_where_the_system_tells_of_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.ron");
        fs::write(&file, "one").unwrap();
        let mut watch = Watch::new();
        watch.watcher = None;
        watch.add(BTreeMap::from([(file.clone(), stamp(&file))]));
        assert!(watch.wait().is_none());
        fs::write(&file, "three").unwrap();
        assert_eq!(until_change(&mut watch).files, [file]);
        assert!(watch.wait().is_none());
    }

    #[test]
    fn a_file_that_is_still_being_written_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.exr");
        let mut watch = Watch::new();
        // Longer than this thread's pauses, even where it has to wait for a processor.
        watch.settle = Duration::from_secs(1);
        watch.add(BTreeMap::from([(file.clone(), None)]));
        let writer = file.clone();
        let written = std::thread::spawn(move || {
            for size in 1..30 {
                fs::write(&writer, vec![0; size]).unwrap();
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        until_change(&mut watch);
        written.join().unwrap();
        assert_eq!(fs::metadata(&file).unwrap().len(), 29);
        assert!(watch.look().is_none());
    }
}
