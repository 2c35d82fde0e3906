//! The elements of a document, one after the other, as bytes: what a reader does with every field, so nothing is done twice.
//!
//! The form is that of <https://bsonspec.org/spec.html>. A value that is not plain is left to the driver's reader.

use bson::oid::ObjectId;
use bson::{DateTime, Decimal128, RawBsonRef, RawDocument, RawDocumentBuf};

/// Elements that follow; none are left where nothing is.
pub(crate) struct Elements<'a> {
    rest: &'a [u8],
}

/// A name and the bytes of a value.
pub(crate) struct Element<'a> {
    pub(crate) name: &'a [u8],
    tag: u8,
    bytes: &'a [u8],
}

/// A value, or why it cannot be read.
pub(crate) type Value<'a> = Result<RawBsonRef<'a>, bson::error::Error>;

/// Bytes that are no element.
#[derive(Debug)]
pub(crate) struct Malformed;

impl<'a> Elements<'a> {
    /// Those of a document or an array, given with its length and its end, after the first `passed` bytes of them.
    pub(crate) fn of(document: &'a [u8], passed: usize) -> Self {
        let end = document.len().saturating_sub(1);
        Self { rest: document.get(4 + passed..end).unwrap_or_default() }
    }

    /// How many bytes follow.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next element, which mostly has the expected name.
    #[inline]
    pub(crate) fn next(&mut self, expected: &[u8]) -> Result<Option<Element<'a>>, Malformed> {
        let Some((tag, rest)) = self.rest.split_first() else { return Ok(None) };
        let length = match rest.strip_prefix(expected) {
            Some([0, ..]) => expected.len(),
            _ => text(rest).ok_or(Malformed)?,
        };
        let (name, rest) = rest.split_at(length);
        let value = rest.get(1..).ok_or(Malformed)?;
        let size = size(*tag, value).ok_or(Malformed)?;
        let (bytes, rest) = value.split_at_checked(size).ok_or(Malformed)?;
        self.rest = rest;
        Ok(Some(Element { name, tag: *tag, bytes }))
    }
}

/// How long a text is that ends with a zero.
fn text(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == 0)
}

/// How many bytes the value has that begins here.
#[inline]
fn size(tag: u8, value: &[u8]) -> Option<usize> {
    let length = || usize::try_from(i32::from_le_bytes(*value.first_chunk()?)).ok();
    match tag {
        // Undefined, null, the largest and the smallest key.
        0x06 | 0x0A | 0x7F | 0xFF => Some(0),
        0x08 => Some(1),
        0x10 => Some(4),
        // Double, date, timestamp, 64-bit integer.
        0x01 | 0x09 | 0x11 | 0x12 => Some(8),
        0x07 => Some(12),
        0x13 => Some(16),
        // String, code, symbol.
        0x02 | 0x0D | 0x0E => length()?.checked_add(4),
        // Document, array, code with scope.
        0x03 | 0x04 | 0x0F => length(),
        // Binary; a pointer.
        0x05 => length()?.checked_add(5),
        0x0C => length()?.checked_add(16),
        // Regular expression.
        0x0B => {
            let pattern = text(value)? + 1;
            Some(pattern + text(value.get(pattern..)?)? + 1)
        }
        _ => None,
    }
}

impl<'a> Element<'a> {
    /// The value, where it is of a plain type and well formed.
    #[inline]
    pub(crate) fn plain(&self) -> Option<RawBsonRef<'a>> {
        let eight = || self.bytes.first_chunk().copied();
        Some(match self.tag {
            0x01 => RawBsonRef::Double(f64::from_le_bytes(eight()?)),
            0x02 => match self.bytes.get(4..)?.split_last()? {
                (0, text) => RawBsonRef::String(std::str::from_utf8(text).ok()?),
                _ => return None,
            },
            0x03 => RawBsonRef::Document(RawDocument::from_bytes(self.bytes).ok()?),
            0x07 => RawBsonRef::ObjectId(ObjectId::from_bytes(*self.bytes.first_chunk()?)),
            0x08 => match self.bytes {
                [0] => RawBsonRef::Boolean(false),
                [1] => RawBsonRef::Boolean(true),
                _ => return None,
            },
            0x09 => RawBsonRef::DateTime(DateTime::from_millis(i64::from_le_bytes(eight()?))),
            0x0A => RawBsonRef::Null,
            0x10 => RawBsonRef::Int32(i32::from_le_bytes(*self.bytes.first_chunk()?)),
            0x12 => RawBsonRef::Int64(i64::from_le_bytes(eight()?)),
            0x13 => RawBsonRef::Decimal128(Decimal128::from_bytes(*self.bytes.first_chunk()?)),
            _ => return None,
        })
    }

    /// The value, whatever its type. One that is not plain is read by the driver, from a document that has it alone and is kept in
    /// `alone`: so nothing else in its own document is in the way, such as a name that is not UTF-8.
    pub(crate) fn value<'b>(&self, alone: &'b mut Option<RawDocumentBuf>) -> Result<Value<'b>, Malformed>
    where
        'a: 'b,
    {
        if let Some(value) = self.plain() {
            return Ok(Ok(value));
        }
        let alone: &'b RawDocumentBuf = alone.insert(self.alone()?);
        Ok(alone.iter().next().ok_or(Malformed)?.map(|(_, value)| value))
    }

    /// A document that has the value alone, under no name.
    fn alone(&self) -> Result<RawDocumentBuf, Malformed> {
        // The length, the tag, the end of the name, and the end.
        let length = self.bytes.len() + 7;
        let mut document = Vec::with_capacity(length);
        document.extend_from_slice(&i32::try_from(length).map_err(|_| Malformed)?.to_le_bytes());
        document.extend_from_slice(&[self.tag, 0]);
        document.extend_from_slice(self.bytes);
        document.push(0);
        RawDocumentBuf::from_bytes(document).map_err(|_| Malformed)
    }
}

#[cfg(test)]
mod tests {
    use bson::spec::BinarySubtype;
    use bson::{Binary, Bson, JavaScriptCodeWithScope, RawDocumentBuf, Regex, Timestamp, doc};

    use super::*;

    fn every_type() -> RawDocumentBuf {
        let regex = Regex { pattern: "a.b".try_into().expect("text"), options: "i".try_into().expect("text") };
        let code = JavaScriptCodeWithScope { code: "f()".into(), scope: doc! { "a": 1 } };
        let document = doc! {
            "": 1_i32, "double": 1.5, "text": "q\0ü", "list": [1_i32, "a"], "in": { "a": true }, "regex": regex,
            "stamp": Timestamp { time: 3, increment: 4 }, "bytes": Binary { subtype: BinarySubtype::Generic, bytes: vec![0; 7] },
            "old": Binary { subtype: BinarySubtype::BinaryOld, bytes: vec![1, 2] }, "id": ObjectId::from_bytes([7; 12]),
            "date": DateTime::from_millis(-1), "dec": "1.50".parse::<Decimal128>().expect("decimal"), "min": Bson::MinKey,
            "max": Bson::MaxKey, "undefined": Bson::Undefined, "symbol": Bson::Symbol("s".into()), "null": Bson::Null,
            "code": Bson::JavaScriptCode("f()".into()), "scope": code, "no": false, "long": i64::MIN, "": 2_i32,
        };
        RawDocumentBuf::try_from(&document).expect("bson")
    }

    #[test]
    fn the_elements_are_those_that_the_driver_reads() {
        let document = every_type();
        for expected in ["", "text", "nothing"] {
            let mut elements = Elements::of(document.as_bytes(), 0);
            for element in document.iter_elements() {
                let theirs = element.expect("an element");
                let ours = elements.next(expected.as_bytes()).expect("an element").expect("one more");
                assert_eq!(ours.name, theirs.key().as_str().as_bytes());
                assert_eq!((ours.tag, ours.bytes.len()), (theirs.element_type() as u8, theirs.size()));
                let theirs = theirs.value().expect("a value");
                assert_eq!(ours.value(&mut None).expect("a document").expect("read"), theirs);
                if let Some(plain) = ours.plain() {
                    assert_eq!(plain, theirs);
                }
            }
            assert!(elements.next(b"").expect("the end").is_none());
            assert_eq!(elements.left(), 0);
        }
    }

    #[test]
    fn what_is_cut_off_or_spoilt_is_refused_and_never_read_past() {
        let whole = every_type().into_bytes();
        let values = |mut elements: Elements<'_>| {
            while let Ok(Some(element)) = elements.next(b"text") {
                // Or what it is not.
                let _ = element.value(&mut None);
            }
        };
        for end in 0..whole.len() {
            values(Elements::of(&whole[..end], 0));
        }
        for at in 4..whole.len() {
            let mut spoilt = whole.clone();
            spoilt[at] ^= 0xFF;
            values(Elements::of(&spoilt, 0));
        }
    }
}
