//! What results look like: bytes for shells, JSON for programs.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kv_client::kv_proto::{KeyValue, Revision};
use serde::Serialize;

/// These bytes as they are, and a newline.
pub(crate) fn line(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(bytes)?;
    out.write_all(b"\n")
}

/// One JSON object on a line of its own.
pub(crate) fn json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// What a put or a delete did.
pub(crate) fn changed(out: &mut impl Write, revision: Revision, deleted: u64) -> io::Result<()> {
    #[derive(Serialize)]
    struct Changed {
        revision: u64,
        deleted: u64,
    }
    json(out, &Changed { revision: revision.get(), deleted })
}

/// What a compaction did.
pub(crate) fn compacted(
    out: &mut impl Write,
    revision: Revision,
    compacted: Revision,
) -> io::Result<()> {
    #[derive(Serialize)]
    struct Compacted {
        revision: u64,
        compacted: u64,
    }
    json(out, &Compacted { revision: revision.get(), compacted: compacted.get() })
}

/// `{"revision":..,"count":..,"kvs":[..]}`, written piece by piece.
pub(crate) struct JsonList<'a, W> {
    out: &'a mut W,
    /// What stands before the next pair.
    before: String,
}

impl<'a, W: Write> JsonList<'a, W> {
    /// A list as of `revision`, of `count` pairs in all. Nothing is written yet.
    pub(crate) fn begin(out: &'a mut W, revision: Revision, count: u64) -> Self {
        let before = format!("{{\"revision\":{revision},\"count\":{count},\"kvs\":[");
        Self { out, before }
    }

    /// Adds pairs to it.
    pub(crate) fn add(&mut self, pairs: &[KeyValue]) -> io::Result<()> {
        for pair in pairs {
            self.out.write_all(self.before.as_bytes())?;
            serde_json::to_writer(&mut *self.out, &JsonPair::from(pair))?;
            self.before = ",".into();
        }
        Ok(())
    }

    /// Closes it.
    pub(crate) fn end(self) -> io::Result<()> {
        if self.before != "," {
            self.out.write_all(self.before.as_bytes())?;
        }
        line(self.out, b"]}")
    }
}

#[derive(Serialize)]
struct JsonPair {
    key: String,
    value: String,
    create_revision: u64,
    mod_revision: u64,
    version: u64,
    /// How the value is written, if not as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    /// How the key is written, if not as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_encoding: Option<&'static str>,
}

/// Text as it is; other bytes in base64, because JSON has no bytes. Says so in the second place.
fn json_text(bytes: &[u8]) -> (String, Option<&'static str>) {
    match str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (STANDARD.encode(bytes), Some("base64")),
    }
}

impl From<&KeyValue> for JsonPair {
    fn from(pair: &KeyValue) -> Self {
        let (key, key_encoding) = json_text(&pair.key);
        let (value, encoding) = json_text(&pair.value);
        Self {
            key,
            value,
            create_revision: pair.create_revision.get(),
            mod_revision: pair.mod_revision.get(),
            version: pair.version,
            encoding,
            key_encoding,
        }
    }
}

/// A size for people: with one decimal place, in the unit that suits.
pub(crate) fn size(bytes: u64) -> String {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.iter().find(|(_, shift)| bytes >> shift > 0) {
        Some((unit, shift)) => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &[u8], value: &[u8]) -> KeyValue {
        KeyValue {
            key: key.into(),
            value: value.into(),
            create_revision: Revision::new(2),
            mod_revision: Revision::new(3),
            version: 2,
            lease: None,
        }
    }

    fn list(pages: &[&[KeyValue]]) -> io::Result<String> {
        let mut out = Vec::new();
        let mut list = JsonList::begin(&mut out, Revision::new(9), 2);
        for page in pages {
            list.add(page)?;
        }
        list.end()?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn a_list_is_one_object_however_many_pages_it_came_in() -> io::Result<()> {
        let (a, b) = (pair(b"a", b"1"), pair(b"b", b"\""));
        let expected = concat!(
            r#"{"revision":9,"count":2,"kvs":["#,
            r#"{"key":"a","value":"1","create_revision":2,"mod_revision":3,"version":2},"#,
            r#"{"key":"b","value":"\"","create_revision":2,"mod_revision":3,"version":2}"#,
            "]}\n",
        );
        assert_eq!(list(&[&[a.clone(), b.clone()]])?, expected);
        assert_eq!(list(&[&[a], &[], &[b]])?, expected);
        assert_eq!(list(&[])?, "{\"revision\":9,\"count\":2,\"kvs\":[]}\n");
        Ok(())
    }

    #[test]
    fn bytes_that_are_not_text_are_base64() -> io::Result<()> {
        let text = list(&[&[pair(b"k", b"\xff\x00")]])?;
        assert!(text.contains("\"key\":\"k\",\"value\":\"/wA=\""), "{text}");
        assert!(text.contains("\"encoding\":\"base64\"") && !text.contains("key_enc"), "{text}");
        let text = list(&[&[pair(b"\xff", b"v")]])?;
        assert!(text.contains("\"key\":\"/w==\",\"value\":\"v\""), "{text}");
        assert!(text.contains("\"key_encoding\":\"base64\""), "{text}");
        Ok(())
    }
}
