//! Files of JSON Lines: whole lines or none, in one file or one after another.

use super::{Record, append_line};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Stdout, Write};
use std::path::{Path, PathBuf};

/// Lines are collected up to this size while more are waiting; one write of it takes well under a
/// millisecond on a disk.
const BUFFER_BYTES: usize = 64 * 1024;

/// How much of the end of a file is looked at for the end of its last line.
const TAIL_BYTES: u64 = 16 * 1024 * 1024;

/// What became of lines.
#[derive(Debug, Default)]
pub struct Written {
    /// Lines handed to the operating system.
    pub written: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Lines lost.
    pub lost: u64,
    /// Another file was begun, because the one before was full.
    pub turned: bool,
    /// What went wrong.
    pub error: Option<io::Error>,
}

/// Where lines go.
pub trait Target: Write + Send {
    /// Removes what a failed write has left behind the first `length` bytes.
    fn cut(&mut self, length: u64);

    /// Called before `bytes` are written behind the first `length`; true if another file is begun for them.
    ///
    /// # Errors
    /// If another file is due and cannot be begun; the lines then go to the one there is.
    fn turn(&mut self, _length: u64, _bytes: u64) -> io::Result<bool> {
        Ok(false)
    }

    /// Another file is due by this from now on; what can have no other ignores it.
    fn rotate(&mut self, _rotation: Option<Rotation>) {}
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

/// What follows a write that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// Nothing is written any more: a gap in the middle of a file would look like frames that never were.
    IsFinal,
    /// The next lines are tried again: a disk that was full may have room.
    MayPass,
}

/// Writes whole lines.
pub struct Lines {
    target: Box<dyn Target>,
    on_failure: Failure,
    buffer: Vec<u8>,
    buffered: u64,
    committed_bytes: u64,
    failed: bool,
}

impl Lines {
    /// Opens `location`: a file, created or emptied, or `-` for standard output. After the first failure nothing more
    /// is written.
    ///
    /// # Errors
    /// If the file cannot be made.
    pub fn open(location: &str) -> io::Result<Self> {
        let target: Box<dyn Target> =
            if location == "-" { Box::new(io::stdout()) } else { Box::new(File::create(location)?) };
        Ok(Self::new(target, Failure::IsFinal, 0))
    }

    /// Standard output, tried again after a failure.
    #[must_use]
    pub fn stdout() -> Self {
        Self::new(Box::new(io::stdout()), Failure::MayPass, 0)
    }

    /// Goes on with the file at `path`, which is made with its folder if there is none. A last line that is not
    /// complete, from a crash, is removed; the number of its bytes is returned. `rotation` says when another file is
    /// begun; without, never. A write that fails loses its lines, and the next one is tried.
    ///
    /// # Errors
    /// If the file cannot be made, read or cut.
    pub fn append_to(path: &Path, rotation: Option<Rotation>) -> io::Result<(Self, u64)> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = open_to_append(path)?;
        let (length, torn) = end_of_last_line(&mut file)?;
        if torn > 0 {
            file.set_len(length)?;
        }
        let is_regular = file.metadata().is_ok_and(|about| about.is_file());
        let rotation = rotation.filter(|_| is_regular);
        let target = Turning { path: path.to_owned(), file: Some(file), is_regular, rotation };
        Ok((Self::new(Box::new(target), Failure::MayPass, length), torn))
    }

    fn new(target: Box<dyn Target>, on_failure: Failure, committed_bytes: u64) -> Self {
        Self { target, on_failure, buffer: Vec::new(), buffered: 0, committed_bytes, failed: false }
    }

    /// Changes when another file is begun.
    pub fn set_rotation(&mut self, rotation: Option<Rotation>) {
        self.target.rotate(rotation);
    }

    /// Adds the line of a record; it is written when enough have come together.
    pub fn append(&mut self, record: &Record) -> Written {
        if self.failed {
            return Written { lost: 1, ..Written::default() };
        }
        append_line(record, &mut self.buffer);
        self.buffered += 1;
        if self.buffer.len() < BUFFER_BYTES { Written::default() } else { self.flush() }
    }

    /// Writes what has come together.
    pub fn flush(&mut self) -> Written {
        if self.buffered == 0 {
            return Written::default();
        }
        let (turned, mut error) = match self.target.turn(self.committed_bytes, self.buffer.len() as u64) {
            Ok(turned) => (turned, None),
            Err(error) => (false, Some(error)),
        };
        if turned {
            self.committed_bytes = 0;
        }
        let lines = std::mem::take(&mut self.buffered);
        let result = self.target.write_all(&self.buffer).and_then(|()| self.target.flush());
        let bytes = self.buffer.len() as u64;
        self.buffer.clear();
        let mut said = Written { turned, ..Written::default() };
        match result {
            Ok(()) => {
                self.committed_bytes += bytes;
                (said.written, said.bytes) = (lines, bytes);
            }
            Err(failure) => {
                self.failed = self.on_failure == Failure::IsFinal;
                self.target.cut(self.committed_bytes);
                said.lost = lines;
                error = Some(failure);
            }
        }
        Written { error, ..said }
    }
}

/// When a file is full, and how many full ones are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Most bytes of a file. A single write of lines may be longer; it then has a file of its own.
    pub max_bytes: u64,
    /// Full files that are kept, `NAME.1` being the latest; 0 keeps none.
    pub keep: u32,
}

/// A file that is renamed when it is full.
struct Turning {
    path: PathBuf,
    /// `None` after a turn whose new file could not be made.
    file: Option<File>,
    /// Devices and FIFOs are not begun anew.
    is_regular: bool,
    rotation: Option<Rotation>,
}

impl Turning {
    fn file(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => open_to_append(&self.path)?,
        };
        Ok(self.file.insert(file))
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    fn shift(&self, keep: u32) -> io::Result<()> {
        if keep == 0 {
            return fs::remove_file(&self.path);
        }
        for number in (1..keep).rev() {
            match fs::rename(self.numbered(number), self.numbered(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        fs::rename(&self.path, self.numbered(1))
    }
}

impl Write for Turning {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file()?.flush()
    }
}

impl Target for Turning {
    fn cut(&mut self, length: u64) {
        if let Some(file) = &self.file {
            file.set_len(length).ok();
        }
    }

    fn turn(&mut self, length: u64, bytes: u64) -> io::Result<bool> {
        let Some(rotation) = self.rotation else { return Ok(false) };
        if length == 0 || length.saturating_add(bytes) <= rotation.max_bytes {
            return Ok(false);
        }
        self.shift(rotation.keep)?;
        self.file = None;
        Ok(true)
    }

    fn rotate(&mut self, rotation: Option<Rotation>) {
        self.rotation = rotation.filter(|_| self.is_regular);
    }
}

/// Writes go to the end, also after the file was cut.
fn open_to_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).open(path)
}

/// Where the last line that is complete ends, and how many bytes follow it. A tail of more than [`TAIL_BYTES`] without
/// any line is not ours, and left alone.
fn end_of_last_line(file: &mut File) -> io::Result<(u64, u64)> {
    let about = file.metadata()?;
    if !about.is_file() {
        return Ok((0, 0));
    }
    let length = about.len();
    let start = length.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    let end = match tail.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => start + at as u64 + 1,
        None if start == 0 => 0,
        None => length,
    };
    Ok((end, length.saturating_sub(end)))
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
        let target = Small { room, kind, content: Arc::clone(&content) };
        (Lines::new(Box::new(target), Failure::IsFinal, 0), content)
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

    fn seqs(path: &Path) -> Vec<u64> {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
        let seq = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap();
        text.lines().map(seq).collect()
    }

    #[test]
    fn a_file_that_is_there_is_gone_on_with_and_its_torn_line_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/records.jsonl");
        let (mut lines, torn) = Lines::append_to(&path, None).unwrap();
        assert_eq!(torn, 0);
        lines.append(&record(0));
        assert_eq!(lines.flush().written, 1);
        drop(lines);
        fs::write(&path, [fs::read(&path).unwrap().as_slice(), b"{\"schema\":\"nv-re"].concat()).unwrap();
        let (mut lines, torn) = Lines::append_to(&path, None).unwrap();
        assert_eq!(torn, 16);
        lines.append(&record(1));
        lines.flush();
        assert_eq!(seqs(&path), [0, 1]);
    }

    #[test]
    fn a_full_file_makes_room_for_another_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.jsonl");
        let mut line = Vec::new();
        append_line(&record(0), &mut line);
        let rotation = Rotation { max_bytes: line.len() as u64 * 5 / 2, keep: 2 };
        let (mut lines, _) = Lines::append_to(&path, Some(rotation)).unwrap();
        let turns = (0..9).filter(|seq| {
            lines.append(&record(*seq));
            lines.flush().turned
        });
        assert_eq!(turns.count(), 4);
        let numbered = |number| folder.path().join(format!("records.jsonl.{number}"));
        assert_eq!((seqs(&path), seqs(&numbered(1)), seqs(&numbered(2))), (vec![8], vec![6, 7], vec![4, 5]));
        assert!(!numbered(3).exists());
    }

    #[test]
    fn a_file_that_cannot_be_turned_takes_the_lines_nevertheless() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("records.jsonl");
        // A folder that is not empty cannot be renamed over.
        fs::create_dir_all(folder.path().join("records.jsonl.1/in-the-way")).unwrap();
        let (mut lines, _) = Lines::append_to(&path, Some(Rotation { max_bytes: 1, keep: 1 })).unwrap();
        for seq in 0..3 {
            lines.append(&record(seq));
            let said = lines.flush();
            assert_eq!((said.written, said.turned, said.error.is_some()), (1, false, seq > 0), "{seq}");
        }
        assert_eq!(seqs(&path), [0, 1, 2]);
    }

    #[test]
    fn a_file_that_is_no_file_is_written_to_and_never_turned() {
        let (mut lines, torn) =
            Lines::append_to(Path::new("/dev/null"), Some(Rotation { max_bytes: 1, keep: 1 })).unwrap();
        for seq in 0..3 {
            lines.append(&record(seq));
            assert_eq!(lines.flush().written, 1);
        }
        assert_eq!(torn, 0);
    }

    #[test]
    fn lines_after_a_disk_was_full_are_tried_again() {
        let content = Arc::default();
        let target = Small { room: 0, kind: io::ErrorKind::StorageFull, content: Arc::clone(&content) };
        let mut lines = Lines::new(Box::new(target), Failure::MayPass, 0);
        for seq in 0..2 {
            lines.append(&record(seq));
            let said = lines.flush();
            assert_eq!((said.lost, said.error.is_some()), (1, true));
        }
    }
}
