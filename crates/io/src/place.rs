//! Reading and writing at a place in a file, from many threads at once.

use std::fs::File;
use std::io;

/// Reads bytes at a place.
#[cfg(unix)]
pub(crate) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

/// Writes bytes at a place.
#[cfg(unix)]
pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

/// Reads bytes at a place.
#[cfg(windows)]
pub(crate) fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    let (mut rest, mut offset) = (bytes, offset);
    while !rest.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, rest, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                rest = &mut rest[read..];
                offset += read as u64;
            }
        }
    }
    Ok(())
}

/// Writes bytes at a place. Unlike elsewhere the file goes on from there.
#[cfg(windows)]
pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let (mut rest, mut offset) = (bytes, offset);
    while !rest.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, rest, offset)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => {
                rest = &rest[written..];
                offset += written as u64;
            }
        }
    }
    Ok(())
}
