//! The bytes of values: the one place that knows where they are.

use kv_proto::Bytes;

/// A stored value, by reference. The index holds these and never looks inside.
///
/// For now a reference owns its bytes, and dropping the last one frees them. When values live on
/// disk it becomes the place to read them from: nothing but this file knows the difference.
#[derive(Clone, Debug)]
pub(crate) struct Value(Bytes);

impl Value {
    /// Stores a copy of `bytes`: what they were cut from can go.
    pub(crate) fn store(bytes: &[u8]) -> Self {
        Self(Bytes::from(bytes))
    }

    /// The bytes, shared with every other reader.
    pub(crate) fn load(&self) -> Bytes {
        Bytes::clone(&self.0)
    }

    /// How many bytes there are. It never reads them.
    pub(crate) fn size_bytes(&self) -> usize {
        self.0.len()
    }
}
