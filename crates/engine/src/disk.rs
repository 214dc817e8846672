//! The cache on disk: dear results under their content key, for the next run and for other processes.
//!
//! A file is written beside its place and renamed into it, so that other processes see it whole or not at
//! all; it ends with a checksum that is verified on every read. A damaged file is removed and its content
//! made again. The folder is kept below a size by removing what was not used for longest. Files that are being
//! written are locked, so that what a killed process left is told from them and removed.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use peel_node::Key;

use crate::codec;
use crate::memory::Values;

const PART: &str = ".part-";
const ENDING: &str = "peel";
/// The folder of this version's format inside the cache folder.
const VERSION: &str = "v2";

/// What a look into the folder found.
pub(crate) enum Lookup {
    Found(Values),
    Missing,
    /// The file is there but not whole; it has been removed.
    Damaged(PathBuf, String),
}

/// A folder of results, seen from outside: to list, verify and clear it.
#[derive(Clone, Debug)]
pub struct CacheFolder {
    root: PathBuf,
}

/// A result on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CacheEntry {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// When it was last read or written.
    pub used: SystemTime,
}

impl CacheFolder {
    /// The cache in this folder, which need not exist.
    pub fn new(folder: &Path) -> CacheFolder {
        CacheFolder {
            root: folder.join(VERSION),
        }
    }

    /// The results, longest unused first.
    pub fn entries(&self) -> Vec<CacheEntry> {
        let mut entries = Vec::new();
        for file in self.shards().iter().flat_map(|shard| children(shard)) {
            let path = file.path();
            // A file that went away meanwhile was another process's to remove.
            let Ok(meta) = file.metadata() else { continue };
            if path.extension().is_some_and(|ending| ending == ENDING) {
                let used = meta.modified().unwrap_or_else(|_| SystemTime::now());
                entries.push(CacheEntry {
                    path,
                    bytes: meta.len(),
                    used,
                });
            }
        }
        entries.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
        entries
    }

    /// Reads an entry to its end; removes it where it is damaged, and says what is wrong with it.
    pub fn verify(&self, entry: &CacheEntry) -> Result<(), String> {
        let key = entry
            .path
            .file_stem()
            .and_then(|name| key_of(&name.to_string_lossy()));
        let read = match (key, File::open(&entry.path)) {
            (Some(key), Ok(file)) => read(&file, &key).map(drop).map_err(|error| error.to_string()),
            (None, _) => Err("its name is no key".to_owned()),
            // Removed by another process.
            (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            (_, Err(error)) => Err(error.to_string()),
        };
        if read.is_err() {
            let _ = fs::remove_file(&entry.path);
        }
        read
    }

    /// Removes what dead processes left and, above `limit` bytes, what was not used for longest. What was removed:
    /// number and bytes.
    pub fn trim(&self, limit: u64) -> (usize, u64) {
        for shard in self.shards() {
            peel_io::sweep(&shard, |name| name.starts_with(PART));
        }
        let entries = self.entries();
        let mut total: u64 = entries.iter().map(|entry| entry.bytes).sum();
        let (mut count, mut bytes) = (0, 0);
        for entry in entries {
            if total <= limit {
                break;
            }
            if fs::remove_file(&entry.path).is_ok() {
                total -= entry.bytes;
                count += 1;
                bytes += entry.bytes;
            }
        }
        (count, bytes)
    }

    /// The folders that hold the files.
    fn shards(&self) -> Vec<PathBuf> {
        let shards = children(&self.root).into_iter().map(|entry| entry.path());
        shards.filter(|path| path.is_dir()).collect()
    }

    fn path(&self, key: &Key) -> PathBuf {
        let hex = key.hex();
        self.root.join(&hex[..2]).join(format!("{hex}.{ENDING}"))
    }
}

fn children(folder: &Path) -> Vec<fs::DirEntry> {
    fs::read_dir(folder).into_iter().flatten().flatten().collect()
}

/// The key of 64 hexadecimal digits.
fn key_of(hex: &str) -> Option<Key> {
    let digits = hex.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(0..32) {
        *byte = u8::from_str_radix(&hex[2 * pair..2 * pair + 2], 16).ok()?;
    }
    Some(Key(key))
}

/// A folder of results, as an engine uses it.
pub(crate) struct DiskCache {
    folder: CacheFolder,
    /// Bytes that the folder is kept below.
    limit: u64,
    /// Bytes written since it was last looked through.
    fresh: AtomicU64,
}

impl DiskCache {
    pub fn new(folder: &Path, limit: u64) -> DiskCache {
        DiskCache {
            folder: CacheFolder::new(folder),
            limit,
            // The first write looks it through.
            fresh: AtomicU64::new(limit),
        }
    }

    /// Whether there is a file of this key, whole or not.
    pub fn holds(&self, key: &Key) -> bool {
        self.folder.path(key).is_file()
    }

    pub fn get(&self, key: &Key) -> Lookup {
        let path = self.folder.path(key);
        let Ok(file) = File::open(&path) else {
            return Lookup::Missing;
        };
        match read(&file, key) {
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
        let path = self.folder.path(key);
        let shard = path.parent().unwrap_or(&self.folder.root);
        fs::create_dir_all(shard)?;
        let mut part = peel_io::temporary(shard, PART.as_ref(), "".as_ref())?;
        let mut writer = BufWriter::new(part.as_file_mut());
        codec::write(&mut writer, key, values)?;
        writer.flush()?;
        drop(writer);
        let file = part.persist(path).map_err(|failed| failed.error)?;
        let bytes = file.metadata()?.len();
        // Looked through again when an eighth of it is new: the folder may pass the limit by so much for each
        // process that shares it.
        if self.fresh.fetch_add(bytes, Ordering::Relaxed) + bytes > self.limit / 8 {
            self.fresh.store(0, Ordering::Relaxed);
            self.folder.trim(self.limit);
        }
        Ok(())
    }
}

/// What a file holds, once its checksum has been found to be right.
fn read(mut file: &File, key: &Key) -> io::Result<Values> {
    codec::verify(&mut BufReader::new(file), file.metadata()?.len())?;
    file.rewind()?;
    codec::read(&mut BufReader::new(file), key)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

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
        cache.folder.path(&KEY)
    }

    #[test]
    fn comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DiskCache::new(folder.path(), 1 << 30);
        assert!(matches!(cache.get(&KEY), Lookup::Missing));
        cache.put(&KEY, &values()).unwrap();
        assert!(matches!(cache.get(&KEY), Lookup::Found(found) if found == values()));
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DiskCache::new(folder.path(), 1 << 30);
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
        let cache = DiskCache::new(folder.path(), 1 << 30);
        cache.put(&Key([1; 32]), &values()).unwrap();
        fs::create_dir_all(only_file(&cache).parent().unwrap()).unwrap();
        fs::rename(cache.folder.path(&Key([1; 32])), only_file(&cache)).unwrap();
        assert!(matches!(cache.get(&KEY), Lookup::Damaged(..)));
    }

    #[test]
    fn the_longest_unused_goes_first_and_what_is_left_over_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CacheFolder::new(folder.path());
        let shard = folder.path().join(VERSION).join("ab");
        fs::create_dir_all(&shard).unwrap();
        let now = SystemTime::now();
        for (name, age) in [("old.peel", 90), ("new.peel", 10), (".part-x", 5)] {
            fs::write(shard.join(name), [0; 100]).unwrap();
            let file = File::options().write(true).open(shard.join(name)).unwrap();
            file.set_modified(now - Duration::from_secs(age)).unwrap();
        }
        // Somebody is at work on this one.
        let busy = peel_io::temporary(&shard, PART.as_ref(), "".as_ref()).unwrap();
        assert_eq!(cache.entries().len(), 2);
        assert_eq!(cache.trim(150), (1, 100));
        let mut left: Vec<_> = children(&shard).iter().map(|file| file.path()).collect();
        left.sort();
        assert_eq!(left, [busy.path().to_owned(), shard.join("new.peel")]);
        assert_eq!(cache.trim(0), (1, 100));
    }

    #[test]
    fn the_folder_stays_below_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let one = {
            let cache = DiskCache::new(folder.path(), 1 << 30);
            cache.put(&KEY, &values()).unwrap();
            cache.folder.entries()[0].bytes
        };
        let cache = DiskCache::new(folder.path(), 10 * one);
        for n in 0..60 {
            cache.put(&Key([n; 32]), &values()).unwrap();
            let total: u64 = cache.folder.entries().iter().map(|entry| entry.bytes).sum();
            assert!(total <= 12 * one, "{total} bytes, {one} each");
        }
        assert!(matches!(cache.get(&Key([59; 32])), Lookup::Found(_)));
    }

    #[test]
    fn verifying_finds_and_removes_what_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let cache = DiskCache::new(folder.path(), 1 << 30);
        cache.put(&KEY, &values()).unwrap();
        cache.put(&Key([1; 32]), &values()).unwrap();
        let mut bytes = fs::read(only_file(&cache)).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(only_file(&cache), bytes).unwrap();
        let verdicts: Vec<bool> = cache
            .folder
            .entries()
            .iter()
            .map(|entry| cache.folder.verify(entry).is_ok())
            .collect();
        assert_eq!(verdicts.iter().filter(|good| **good).count(), 1);
        assert_eq!(cache.folder.entries().len(), 1);
    }
}
