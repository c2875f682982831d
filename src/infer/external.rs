//! Reads the frame of a model file before the runtime does: is it whole, and does it stay at home?
//!
//! An ONNX file may keep its weights in other files and name them. Runtimes before the releases of 2026
//! follow such a name out of the model's folder; this one does not get to see it. The walk touches only
//! the messages on the way to `TensorProto.external_data` and skips all tensor data.
//!
//! Not checked: anything else about the graph. Hard links cannot be told from files.

use super::sidecar::inside;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::{Path, PathBuf};

/// Deeper graphs than this are an attack on the stack.
const MAX_DEPTH: usize = 64;

/// A name of a file, with its key, is shorter than this.
const MAX_ENTRY_BYTES: u64 = 1 << 16;

/// The messages of `onnx.proto` that lead to external data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Function,
    SparseTensor,
    Tensor,
    /// `StringStringEntryProto` of `TensorProto.external_data`.
    ExternalData,
}

impl Message {
    /// What the field of that number holds, if it leads on. Numbers from `onnx.proto`.
    const fn child(self, field: u64) -> Option<Self> {
        Some(match (self, field) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Node, 5) | (Self::Function, 11) => Self::Attribute,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::SparseTensor, 1 | 2) => Self::Tensor,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::SparseTensor,
            (Self::Tensor, 13) => Self::ExternalData,
            _ => return None,
        })
    }
}

/// Why a model file is not given to the runtime: what was expected and found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is not a whole ONNX file.
    Unreadable(String),
    /// It names a file outside its folder.
    Outside(String),
}

/// Walks the model at `path`, and returns the files that hold its weights beside it.
///
/// # Errors
///
/// [`Fault`], see there.
pub(super) fn check(path: &Path) -> Result<Vec<PathBuf>, Fault> {
    let unreadable = |error: std::io::Error| Fault::Unreadable(error.to_string());
    let file = File::open(path).map_err(unreadable)?;
    let len = file.metadata().map_err(unreadable)?.len();
    let mut walk =
        Walk { model: path, reader: BufReader::new(file), at: 0, graphs: 0, files: BTreeSet::new() };
    walk.message(Message::Model, len, 0)?;
    if walk.graphs == 0 {
        return Err(Fault::Unreadable(format!("expected an ONNX model, found {len} bytes without a graph")));
    }
    Ok(walk.files.into_iter().collect())
}

struct Walk<'a> {
    model: &'a Path,
    reader: BufReader<File>,
    at: u64,
    graphs: u64,
    files: BTreeSet<PathBuf>,
}

impl Walk<'_> {
    fn message(&mut self, message: Message, end: u64, depth: usize) -> Result<(), Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::Unreadable(format!("expected graphs nested at most {MAX_DEPTH} deep")));
        }
        self.graphs += u64::from(message == Message::Graph);
        while self.at < end {
            let tag = self.varint(end)?;
            let len = match tag & 7 {
                0 => {
                    self.varint(end)?;
                    continue;
                }
                1 => 8,
                2 => self.varint(end)?,
                5 => 4,
                wire => return Err(self.damaged(&format!("wire type {wire}"))),
            };
            let field_end = self.at.checked_add(len).filter(|field_end| *field_end <= end);
            let Some(field_end) = field_end else {
                return Err(self.damaged(&format!("a field of {len} bytes that ends after its message")));
            };
            match message.child(tag >> 3).filter(|_| tag & 7 == 2) {
                Some(Message::ExternalData) => self.external_data(len)?,
                Some(child) => self.message(child, field_end, depth + 1)?,
                None => self.skip(len)?,
            }
        }
        Ok(())
    }

    /// Checks one entry; only `location` names a file.
    fn external_data(&mut self, len: u64) -> Result<(), Fault> {
        if len > MAX_ENTRY_BYTES {
            return Err(self.damaged(&format!("an external data entry of {len} bytes")));
        }
        let mut entry = vec![0; usize::try_from(len).unwrap_or_default()];
        self.reader.read_exact(&mut entry).map_err(|error| Fault::Unreadable(error.to_string()))?;
        self.at += len;
        let Some(location) = location(&entry) else { return Ok(()) };
        let location = String::from_utf8_lossy(location).into_owned();
        let file = inside(self.model, Path::new(&location))
            .map_err(|detail| Fault::Outside(format!("external data of the model: {detail}")))?;
        self.files.insert(file);
        Ok(())
    }

    fn varint(&mut self, end: u64) -> Result<u64, Fault> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            if self.at >= end || self.reader.read_exact(&mut byte).is_err() {
                return Err(self.damaged("a number that ends after its message"));
            }
            self.at += 1;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        Err(self.damaged("a number of more than ten bytes"))
    }

    fn skip(&mut self, len: u64) -> Result<(), Fault> {
        let skipped = i64::try_from(len).ok().and_then(|len| self.reader.seek_relative(len).ok());
        if skipped.is_none() {
            return Err(self.damaged(&format!("a field of {len} bytes that cannot be passed over")));
        }
        self.at += len;
        Ok(())
    }

    fn damaged(&self, found: &str) -> Fault {
        Fault::Unreadable(format!(
            "expected an ONNX model (protobuf), found {found} at byte {}: damaged or truncated",
            self.at
        ))
    }
}

/// The value of an entry whose key is `location`: two short strings, fields 1 and 2, in any order.
fn location(entry: &[u8]) -> Option<&[u8]> {
    let (mut key, mut value) = (None, None);
    let mut rest = entry;
    while let [tag, after @ ..] = rest {
        let (len, after) = short_len(after)?;
        let text = after.get(..len)?;
        rest = after.get(len..)?;
        match tag {
            0x0a => key = Some(text),
            0x12 => value = Some(text),
            _ => {}
        }
    }
    value.filter(|_| key == Some(b"location"))
}

/// A length of at most three varint bytes, enough for [`MAX_ENTRY_BYTES`], and what follows it.
fn short_len(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut len = 0;
    for (i, byte) in bytes.iter().take(3).enumerate() {
        len |= usize::from(byte & 0x7f) << (7 * i);
        if *byte < 0x80 {
            return Some((len, bytes.get(i + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn data(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
    }

    fn check_bytes(bytes: &[u8]) -> Result<Vec<PathBuf>, Fault> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        std::fs::write(&path, bytes).unwrap();
        check(&path)
    }

    #[test]
    fn whole_models_pass() {
        for name in ["brightest", "slow_1ms", "identity", "many_boxes", "u8_nhwc"] {
            assert_eq!(check(&data(&format!("{name}.onnx"))), Ok(Vec::new()), "{name}");
        }
    }

    #[test]
    fn a_model_cut_anywhere_is_damaged() {
        let whole = std::fs::read(data("identity.onnx")).unwrap();
        // The graph is followed by the opset; cut in between, the file reads as a whole without opset,
        // which the runtime refuses.
        for len in 0..whole.len() / 2 {
            let result = check_bytes(&whole[..len]);
            assert!(matches!(result, Err(Fault::Unreadable(_))), "{len}: {result:?}");
        }
    }

    #[test]
    fn text_is_no_model() {
        assert!(matches!(check_bytes(b"hello, world\n"), Err(Fault::Unreadable(_))));
        assert!(matches!(check_bytes(b""), Err(Fault::Unreadable(_))));
    }

    #[test]
    fn weights_outside_the_models_folder_are_refused() {
        let Err(Fault::Outside(detail)) = check(&data("external_outside.onnx")) else { panic!("passed") };
        assert!(detail.contains("../../../../etc/passwd"), "{detail}");
    }

    #[test]
    fn endless_nesting_is_refused() {
        // Graph in attribute in node in graph ...: each level a tag and a length.
        let mut bytes = Vec::new();
        for level in 0..400 {
            let tag = [0x0a, 0x32, 0x2a][level % 3];
            let mut outer = vec![tag];
            let mut len = bytes.len();
            while len >= 0x80 {
                outer.push((len & 0x7f) as u8 | 0x80);
                len >>= 7;
            }
            outer.push(len as u8);
            outer.append(&mut bytes);
            bytes = outer;
        }
        let mut model = vec![0x3a, 0x80 | (bytes.len() & 0x7f) as u8, (bytes.len() >> 7) as u8];
        model.extend_from_slice(&bytes);
        let Err(Fault::Unreadable(detail)) = check_bytes(&model) else { panic!("passed") };
        assert!(detail.contains("nested"), "{detail}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_bytes_come_to_an_end_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            check_bytes(&bytes).ok();
        }
    }
}
