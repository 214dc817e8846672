//! The cache on disk: dear results under their content key, for the next run and for other processes.
//!
//! A file is written beside its place and renamed into it, so that other processes see it whole or not at
//! all; it ends with a checksum that is verified on every read. A damaged file is removed and its content
//! made again. The folder is kept below a size by removing what was not used for longest.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, SystemTime};

use peel_node::Key;

use crate::codec;
use crate::memory::Values;

/// Size that the folder is brought back to when an engine first writes to it: 16 GiB.
const LIMIT: u64 = 16 << 30;

/// Temporary files older than this belong to a process that died.
const STALE: Duration = Duration::from_secs(24 * 3600);

const PART: &str = ".part-";

/// What a look into the folder found.
pub(crate) enum Lookup {
    Found(Values),
    Missing,
    /// The file is there but not whole; it has been removed.
    Damaged(PathBuf, String),
}

/// A folder of results.
pub(crate) struct DiskCache {
    root: PathBuf,
    tidied: Once,
}

impl DiskCache {
    pub fn new(root: &Path) -> DiskCache {
        DiskCache {
            root: root.join("v2"),
            tidied: Once::new(),
        }
    }

    pub fn get(&self, key: &Key) -> Lookup {
        let path = self.path(key);
        let Ok(file) = File::open(&path) else {
            return Lookup::Missing;
        };
        let read = read(&file, key);
        match read {
            Ok(values) => {
                // Marks the last use; a folder that is only readable still serves.
                let _ = file.set_modified(SystemTime::now());
                Lookup::Found(values)
            }
            Err(error) => {
                let _ = fs::remove_file(&path);
                Lookup::Damaged(path, error.to_string())
            }
        }
    }

    pub fn put(&self, key: &Key, values: &Values) -> io::Result<()> {
        self.tidied.call_once(|| tidy(&self.root, LIMIT));
        let path = self.path(key);
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder)?;
        let mut part = tempfile::Builder::new().prefix(PART).tempfile_in(folder)?;
        let mut writer = BufWriter::new(part.as_file_mut());
        codec::write(&mut writer, key, values)?;
        writer.flush()?;
        drop(writer);
        part.persist(path).map_err(|failed| failed.error)?;
        Ok(())
    }

    fn path(&self, key: &Key) -> PathBuf {
        let hex = key.hex();
        self.root.join(&hex[..2]).join(format!("{hex}.peel"))
    }
}

/// What a file holds, once its checksum has been found to be right.
fn read(mut file: &File, key: &Key) -> io::Result<Values> {
    codec::verify(&mut BufReader::new(file), file.metadata()?.len())?;
    file.rewind()?;
    codec::read(&mut BufReader::new(file), key)
}

/// Removes what dead processes left and, above the limit, what was not used for longest.
fn tidy(root: &Path, limit: u64) {
    let now = SystemTime::now();
    let mut files = Vec::new();
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    for file in entries(root).flat_map(|shard| entries(&shard.path()).collect::<Vec<_>>()) {
        let Ok(meta) = file.metadata() else { continue };
        let used = meta.modified().unwrap_or(now);
        if file.file_name().to_string_lossy().starts_with(PART) {
            if now.duration_since(used).is_ok_and(|age| age > STALE) {
                let _ = fs::remove_file(file.path());
            }
        } else {
            files.push((used, meta.len(), file.path()));
        }
    }
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    files.sort();
    for (_, bytes, path) in files {
        if total <= limit {
            break;
        }
        if fs::remove_file(path).is_ok() {
            total -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use peel_image::{Layer, Rect};
    use peel_node::Value;

    use super::*;

    const KEY: Key = Key([9; 32]);

    fn values() -> Values {
        let data = Rect::new(-1, 2, 7, 5);
        let layer = Layer::from_fn(Rect::of_size(6, 6), data, |x, y| {
            [x as f32, y as f32, 0.1, f32::MAX]
        });
        Arc::from(vec![Value::from(layer)])
    }

    fn only_file(cache: &DiskCache) -> PathBuf {
        cache.path(&KEY)
    }

    #[test]
    fn comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DiskCache::new(folder.path());
        assert!(matches!(cache.get(&KEY), Lookup::Missing));
        cache.put(&KEY, &values()).unwrap();
        assert!(matches!(cache.get(&KEY), Lookup::Found(found) if found == values()));
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DiskCache::new(folder.path());
        cache.put(&KEY, &values()).unwrap();
        let good = fs::read(only_file(&cache)).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            fs::write(only_file(&cache), &bad).unwrap();
            assert!(matches!(cache.get(&KEY), Lookup::Damaged(..)), "byte {at}");
            assert!(
                matches!(cache.get(&KEY), Lookup::Missing),
                "a damaged file is removed"
            );
            fs::write(only_file(&cache), &good[..at]).unwrap();
            assert!(matches!(cache.get(&KEY), Lookup::Damaged(..)), "cut at {at}");
        }
    }

    #[test]
    fn an_entry_under_another_name_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DiskCache::new(folder.path());
        cache.put(&Key([1; 32]), &values()).unwrap();
        fs::create_dir_all(only_file(&cache).parent().unwrap()).unwrap();
        fs::rename(cache.path(&Key([1; 32])), only_file(&cache)).unwrap();
        assert!(matches!(cache.get(&KEY), Lookup::Damaged(..)));
    }

    #[test]
    fn tidying_removes_the_longest_unused_and_the_left_over() {
        let folder = tempfile::tempdir().unwrap();
        let shard = folder.path().join("ab");
        fs::create_dir_all(&shard).unwrap();
        let now = SystemTime::now();
        for (name, age) in [
            ("old.peel", 90),
            ("new.peel", 10),
            (".part-x", 100_000),
            (".part-y", 5),
        ] {
            fs::write(shard.join(name), [0; 100]).unwrap();
            let file = File::options().write(true).open(shard.join(name)).unwrap();
            file.set_modified(now - Duration::from_secs(age)).unwrap();
        }
        tidy(folder.path(), 150);
        let mut left: Vec<_> = fs::read_dir(&shard)
            .unwrap()
            .map(|f| f.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, [".part-y", "new.peel"]);
    }
}
