//! Opening the files that an operator names.

use std::fs::File;
use std::io;
use std::path::Path;

/// Opens a file to read. Not a FIFO: whoever opens one waits for somebody who writes, possibly for ever.
pub(super) fn open(path: &Path) -> io::Result<File> {
    if std::fs::metadata(path)?.is_file() {
        return File::open(path);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "expected a regular file, found a folder, a FIFO or a device",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "text").unwrap();
        assert!(open(&file).is_ok());
        for other in [folder.path(), Path::new("/dev/null")] {
            assert!(open(other).unwrap_err().to_string().contains("expected a regular file"));
        }
    }
}
