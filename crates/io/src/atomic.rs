//! Files that appear whole or not at all.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;

use crate::{Error, Result};

/// Where the file system knows no locks, a temporary file of this age is nobody's any more.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// What [`write_atomically`] hands out: buffered, and able to seek.
pub type AtomicWriter = BufWriter<File>;

/// Writes a file so that it appears under `path` complete or not at all: `write` fills a temporary file
/// `.NAME.*.part` in the same folder, which is flushed to the disk and then renamed, over an older file too. When
/// anything fails the temporary file is removed and an older file stays as it was. Missing folders are made.
pub fn write_atomically<T>(path: &Path, write: impl FnOnce(&mut AtomicWriter) -> Result<T>) -> Result<T> {
    let failed = |source: io::Error| Error::Write {
        path: path.to_owned(),
        source,
    };
    let name = path.file_name().ok_or_else(|| {
        Error::unwritable(
            path,
            "the path ends in no file name; add one, such as out.####.exr",
        )
    })?;
    if path.is_dir() {
        return Err(Error::unwritable(
            path,
            "there is a folder of that name; choose another name",
        ));
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder).map_err(failed)?;

    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".part");
    #[cfg(unix)]
    {
        // Temporary files are private by default; this one becomes a picture that others may read, as far as
        // the user's mask allows.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let (file, temporary) = locked(|| builder.tempfile_in(folder))
        .map_err(failed)?
        .into_parts();
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    let result = write(&mut writer).map_err(|error| of_file(error, path))?;
    writer.flush().map_err(failed)?;
    let file = writer.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    // Open, and so locked, until it has its name; Windows renames no open file.
    let file = (!cfg!(windows)).then_some(file);
    temporary.persist(path).map_err(|error| failed(error.error))?;
    drop(file);
    sync_folder(folder);
    Ok(result)
}

/// A temporary file that is locked for as long as it is open, so that [`sweep`] leaves it alone. It goes away with its
/// handle, unless the process is killed.
pub fn temporary(folder: &Path, prefix: &OsStr, suffix: &OsStr) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).suffix(suffix);
    locked(|| builder.tempfile_in(folder))
}

/// Makes a file and locks it. Another process may take it for an abandoned one in between and remove it: then again.
fn locked(make: impl Fn() -> io::Result<NamedTempFile>) -> io::Result<NamedTempFile> {
    const TRIES: usize = 16;
    let mut made = make()?;
    for _ in 0..TRIES {
        // Where there are no locks, age alone tells what is abandoned.
        let free = !matches!(made.as_file().try_lock(), Err(TryLockError::WouldBlock));
        if free && made.path().exists() {
            break;
        }
        made = make()?;
    }
    Ok(made)
}

/// Removes temporary files that killed processes have left in a folder; those that are being written stay. How many
/// were removed.
pub fn sweep(folder: &Path, is_temporary: impl Fn(&str) -> bool) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let abandoned = entries.filter(|entry| {
        if !is_temporary(&entry.file_name().to_string_lossy()) {
            return false;
        }
        let Ok(file) = File::open(entry.path()) else {
            return false;
        };
        match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(_)) => {
                file.metadata()
                    .and_then(|meta| meta.modified())
                    .is_ok_and(|modified| {
                        SystemTime::now()
                            .duration_since(modified)
                            .is_ok_and(|age| age > ABANDONED)
                    })
            }
        }
    });
    abandoned
        .filter(|entry| fs::remove_file(entry.path()).is_ok())
        .count()
}

/// The file that a temporary file of [`write_atomically`] was to become.
pub fn meant_by(temporary: &str) -> Option<&str> {
    let (name, _) = temporary
        .strip_prefix('.')?
        .strip_suffix(".part")?
        .rsplit_once('.')?;
    Some(name)
}

/// A failed write says which file it was for, not which temporary one.
fn of_file(error: Error, path: &Path) -> Error {
    match error {
        Error::Write { source, .. } => Error::Write {
            path: path.to_owned(),
            source,
        },
        other => other,
    }
}

/// Makes the rename itself durable. Some file systems refuse to; the file is whole in any case.
fn sync_folder(folder: &Path) {
    if cfg!(unix)
        && let Ok(folder) = File::open(folder)
    {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn put(path: &Path, text: &str) -> Result<()> {
        write_atomically(path, |writer| {
            writer.write_all(text.as_bytes()).map_err(|source| Error::Write {
                path: path.to_owned(),
                source,
            })
        })
    }

    #[test]
    fn appears_whole_in_a_new_folder_and_over_an_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/out.txt");
        put(&path, "one").unwrap();
        put(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(names(path.parent().unwrap()), ["out.txt"]);
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.txt");
        put(&path, "old").unwrap();
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let error = write_atomically(&path, |writer| -> Result<()> {
            writer.write_all(&[1; 3_000_000]).unwrap();
            Err(Error::Write {
                path: "elsewhere".into(),
                source: full(),
            })
        })
        .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(&format!("{}: cannot be written", path.display())),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(folder.path()), ["out.txt"]);
    }

    #[test]
    fn a_panic_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.txt");
        let result =
            std::panic::catch_unwind(|| write_atomically(&path, |_| -> Result<()> { panic!("cancelled") }));
        assert!(result.is_err());
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn impossible_places_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        put(&file, "x").unwrap();
        assert!(put(&file.join("under/out.txt"), "x").is_err());
        assert!(
            put(folder.path(), "x")
                .unwrap_err()
                .to_string()
                .contains("a folder of that name")
        );
        assert!(put(Path::new("/"), "x").is_err());
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[test]
    fn what_a_killed_process_left_is_swept_and_what_is_being_written_is_not() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".out.exr.abc123.part"), "half").unwrap();
        fs::write(folder.path().join(".other.exr.abc123.part"), "not ours").unwrap();
        let ours = |name: &str| meant_by(name) == Some("out.exr");
        write_atomically(&folder.path().join("out.exr"), |writer| {
            assert_eq!(sweep(folder.path(), ours), 1);
            writer.write_all(b"whole").unwrap();
            Ok(())
        })
        .unwrap();
        assert_eq!(names(folder.path()), [".other.exr.abc123.part", "out.exr"]);
        assert_eq!(meant_by(".a.b.0001.exr.xYz.part"), Some("a.b.0001.exr"));
        assert_eq!(meant_by("a.exr"), None);
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_the_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (path, plain) = (folder.path().join("out.txt"), folder.path().join("plain.txt"));
        put(&path, "x").unwrap();
        fs::write(&plain, "x").unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&plain));
    }
}
