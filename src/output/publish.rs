//! Who records are given to.

use super::{Lines, Record, Written};
use parking_lot::Mutex;

/// Takes the records of a sink, one after another, on the sink's own thread. It may block: what waits meanwhile is bounded,
/// and what does not fit counted, by the sink. It may panic: that is counted, too.
pub trait Publisher: Send + Sync {
    /// Takes a record.
    fn publish(&self, record: &Record) -> Written;

    /// No record waits any more: what was held back is to go out.
    fn flush(&self) -> Written {
        Written::default()
    }
}

impl Publisher for Mutex<Lines> {
    fn publish(&self, record: &Record) -> Written {
        self.lock().append(record)
    }

    fn flush(&self) -> Written {
        self.lock().flush()
    }
}
