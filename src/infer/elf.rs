//! Looks at a shared object before the loader does.
//!
//! The dynamic loader maps a file by what its headers say and dies of SIGBUS where the file ends early,
//! and calling into a library to ask its version needs `unsafe`. Reading a few bytes answers both.
//! Nothing here proves that a library is good, only that loading it will not kill the process for a
//! truncated copy.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// Where the fields stand in a 64 bit ELF file, from the System V ABI, "ELF Header", "Program Header".
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const LOAD: u32 = 1;

/// A field of `N` bytes at `at`; the two tables above are checked to be long enough by their readers.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..at + N).and_then(|part| part.try_into().ok()).unwrap_or([0; N])
}

/// Why `path` must not be given to the loader, if it must not.
///
/// # Errors
///
/// What was expected and found, as a text.
pub(super) fn check(path: &Path) -> Result<(), String> {
    let metadata = path.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("expected a file, found a folder or a device".to_owned());
    }
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let mut header = [0; HEADER];
    let got = read_up_to(&mut file, &mut header).map_err(|error| error.to_string())?;
    if got < HEADER || !header.starts_with(b"\x7fELF") {
        return Err("expected a shared object (ELF), found something else".to_owned());
    }
    // Other classes and byte orders are for the loader to refuse: it does so cleanly.
    if cfg!(target_endian = "little") && header[4] == 2 && header[5] == 1 {
        segments(&mut file, &header, metadata.len())?;
    }
    Ok(())
}

/// Checks that every loaded segment lies in the file.
fn segments(file: &mut File, header: &[u8; HEADER], len: u64) -> Result<(), String> {
    let truncated = |end: u64| format!("expected at least {end} bytes, found {len}: the file is truncated");
    let table = u64::from_le_bytes(field(header, 32));
    let count = u64::from(u16::from_le_bytes(field(header, 56)));
    let end = table.saturating_add(count * PROGRAM_HEADER as u64);
    if end > len {
        return Err(truncated(end));
    }
    file.seek(SeekFrom::Start(table)).map_err(|error| error.to_string())?;
    for _ in 0..count {
        let mut segment = [0; PROGRAM_HEADER];
        file.read_exact(&mut segment).map_err(|error| error.to_string())?;
        let start = u64::from_le_bytes(field(&segment, 8));
        let end = start.saturating_add(u64::from_le_bytes(field(&segment, 32)));
        if u32::from_le_bytes(field(&segment, 0)) == LOAD && end > len {
            return Err(truncated(end));
        }
    }
    Ok(())
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while let Some(rest) = buffer.get_mut(got..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            n => got += n,
        }
    }
    Ok(got)
}

/// The release the library was built as (`1.31.1`), from the version its symbols carry.
///
/// ONNX Runtime exports its symbols under the version `VERS_<release>`. Falls back to the file's name.
pub(super) fn release(path: &Path) -> Option<String> {
    from_symbols(path).ok().flatten().or_else(|| {
        let name = path.canonicalize().ok()?;
        let (_, release) = name.file_name()?.to_str()?.split_once(".so.")?;
        is_release(release).then(|| release.to_owned())
    })
}

fn from_symbols(path: &Path) -> io::Result<Option<String>> {
    let mut reader = BufReader::with_capacity(1 << 16, File::open(path)?);
    let mut text = Vec::new();
    while reader.read_until(0, &mut text)? != 0 {
        let version = text.strip_suffix(b"\0").and_then(|text| text.strip_prefix(b"VERS_"));
        let version = version.and_then(|version| std::str::from_utf8(version).ok());
        if let Some(version) = version.filter(|version| is_release(version)) {
            return Ok(Some(version.to_owned()));
        }
        text.clear();
    }
    Ok(None)
}

fn is_release(text: &str) -> bool {
    let parts: Vec<_> = text.split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}
