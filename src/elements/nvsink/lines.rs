//! The file of JSON Lines.

use crate::output::{Record, append_line};
use std::fs::File;
use std::io::{self, Stdout, Write};

/// Lines are collected up to this size while more are waiting; one write of it takes well under a
/// millisecond on a disk.
const BUFFER_BYTES: usize = 64 * 1024;

/// Where lines go.
pub(super) trait Target: Write + Send {
    /// Removes what a failed write has left behind the first `length` bytes.
    fn cut(&mut self, length: u64);
}

impl Target for File {
    fn cut(&mut self, length: u64) {
        // Devices and FIFOs cannot be cut; their readers see the broken line.
        self.set_len(length).ok();
    }
}

impl Target for Stdout {
    fn cut(&mut self, _length: u64) {}
}

/// What became of lines.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Lines handed to the operating system.
    pub(super) written: u64,
    /// Lines lost.
    pub(super) lost: u64,
    /// Why: said once, for the first loss.
    pub(super) error: Option<io::Error>,
}

/// Writes whole lines. After the first failure it writes nothing more: a gap in the middle of a file
/// would look like frames that never were.
pub(super) struct Lines {
    target: Box<dyn Target>,
    buffer: Vec<u8>,
    buffered: u64,
    committed_bytes: u64,
    failed: bool,
}

impl Lines {
    /// Opens `location`: a file, created or emptied, or `-` for standard output.
    pub(super) fn open(location: &str) -> io::Result<Self> {
        let target: Box<dyn Target> =
            if location == "-" { Box::new(io::stdout()) } else { Box::new(File::create(location)?) };
        Ok(Self::new(target))
    }

    fn new(target: Box<dyn Target>) -> Self {
        Self { target, buffer: Vec::new(), buffered: 0, committed_bytes: 0, failed: false }
    }

    /// Adds the line of a record; it is written when enough have come together.
    pub(super) fn append(&mut self, record: &Record) -> Written {
        if self.failed {
            return Written { lost: 1, ..Written::default() };
        }
        append_line(record, &mut self.buffer);
        self.buffered += 1;
        if self.buffer.len() < BUFFER_BYTES { Written::default() } else { self.flush() }
    }

    /// Writes what has come together.
    pub(super) fn flush(&mut self) -> Written {
        if self.buffered == 0 {
            return Written::default();
        }
        let lines = std::mem::take(&mut self.buffered);
        let result = self.target.write_all(&self.buffer).and_then(|()| self.target.flush());
        let bytes = self.buffer.len() as u64;
        self.buffer.clear();
        match result {
            Ok(()) => {
                self.committed_bytes += bytes;
                Written { written: lines, ..Written::default() }
            }
            Err(error) => {
                self.failed = true;
                self.target.cut(self.committed_bytes);
                Written { lost: lines, error: Some(error), ..Written::default() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{FrameFacts, FrameTime};
    use crate::vision::Size;
    use std::sync::{Arc, Mutex};

    /// Takes `room` bytes, then fails like a full disk or a closed pipe.
    struct Small {
        room: usize,
        kind: io::ErrorKind,
        content: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.room);
            if taken == 0 {
                return Err(self.kind.into());
            }
            self.room -= taken;
            self.content.lock().unwrap().extend(bytes.iter().take(taken));
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Target for Small {
        fn cut(&mut self, length: u64) {
            self.content.lock().unwrap().truncate(usize::try_from(length).unwrap());
        }
    }

    fn record(seq: u64) -> Record {
        let facts = FrameFacts { seq, ..FrameFacts::default() };
        Record::new(facts, FrameTime::default(), Size::new(1, 1), Vec::new())
    }

    fn small(room: usize, kind: io::ErrorKind) -> (Lines, Arc<Mutex<Vec<u8>>>) {
        let content = Arc::default();
        (Lines::new(Box::new(Small { room, kind, content: Arc::clone(&content) })), content)
    }

    #[test]
    fn a_full_disk_leaves_whole_lines_and_one_error() {
        let mut length = Vec::new();
        append_line(&record(0), &mut length);
        let (mut lines, content) = small(length.len() * 5 / 2, io::ErrorKind::StorageFull);
        lines.append(&record(0));
        assert_eq!(lines.flush().written, 1);
        lines.append(&record(1));
        lines.append(&record(2));
        let failed = lines.flush();
        assert_eq!((failed.written, failed.lost), (0, 2));
        assert_eq!(failed.error.map(|error| error.kind()), Some(io::ErrorKind::StorageFull));
        assert_eq!(*content.lock().unwrap(), length, "the broken lines were cut off");
        let after = lines.append(&record(3));
        assert_eq!((after.lost, after.error.is_none()), (1, true));
    }

    #[test]
    fn a_closed_pipe_is_an_error_like_any_other() {
        let (mut lines, _) = small(0, io::ErrorKind::BrokenPipe);
        lines.append(&record(0));
        assert_eq!(lines.flush().error.map(|error| error.kind()), Some(io::ErrorKind::BrokenPipe));
        assert_eq!(lines.flush().lost, 0, "nothing is left to lose");
    }

    #[test]
    fn many_lines_are_written_before_anyone_asks() {
        let (mut lines, content) = small(usize::MAX, io::ErrorKind::Other);
        let written: u64 = (0..1000).map(|seq| lines.append(&record(seq)).written).sum();
        assert!(written > 0 && written < 1000, "{written}");
        assert_eq!(written + lines.flush().written, 1000);
        assert_eq!(content.lock().unwrap().iter().filter(|byte| **byte == b'\n').count(), 1000);
    }
}
