//! The protobuf wire format, field by field, over borrowed bytes.

use super::DecodeError;

/// A field of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Field<'b> {
    pub(crate) number: u32,
    pub(crate) value: Value<'b>,
}

/// A field's value, by wire type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'b> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'b [u8]),
    Fixed32(u32),
}

impl<'b> Value<'b> {
    pub(crate) fn bytes(self) -> Option<&'b [u8]> {
        if let Value::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    pub(crate) fn varint(self) -> Option<u64> {
        if let Value::Varint(number) = self { Some(number) } else { None }
    }
}

/// Walks the fields of one message. Stops after the first error.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'b> {
    rest: &'b [u8],
    /// Where `rest` starts in the whole input.
    offset: usize,
}

impl<'b> Fields<'b> {
    /// The fields of `message`, which starts at `offset` of the whole input.
    pub(crate) fn new(message: &'b [u8], offset: usize) -> Self {
        Fields { rest: message, offset }
    }

    /// Where a value that was just read starts.
    pub(crate) fn start_of(&self, value: &[u8]) -> usize {
        self.offset.saturating_sub(value.len())
    }

    fn error(&self, what: &'static str) -> DecodeError {
        DecodeError::Protobuf { offset: self.offset, what }
    }

    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        self.offset = self.offset.saturating_add(count);
        Some(taken)
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0u64;
        for shift in (0..70u32).step_by(7) {
            let Some([byte]) = self.take(1) else { return Err(self.error("a number is cut off")) };
            number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.error("a number has more than ten bytes"))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let bytes = self.take(N).and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(|| self.error("a number is cut off"))
    }

    fn field(&mut self) -> Result<Field<'b>, DecodeError> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let Some(number) = number else { return Err(self.error("a field number is out of range")) };
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                let bytes = self.take(length);
                Value::Bytes(bytes.ok_or_else(|| self.error("a field is longer than what is left"))?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err(self.error("a field has an unknown wire type")),
        };
        Ok(Field { number, value })
    }
}

/// Where the value of a field lies, for a field that need not be there as a whole yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) number: u32,
    /// Whether the value is a string, bytes or a message.
    pub(crate) is_bytes: bool,
    /// Bytes before the value.
    pub(crate) header: usize,
    /// Bytes of the value; for a number none, it is counted as part of the header.
    pub(crate) value: usize,
}

/// The most bytes a [`Header`] has.
pub(crate) const HEADER_BYTES: usize = 20;

/// Reads the header of the field at the start of `bytes`, which are at `offset` of the whole input.
pub(crate) fn header(bytes: &[u8], offset: usize) -> Result<Header, DecodeError> {
    let mut fields = Fields::new(bytes, offset);
    let tag = fields.varint()?;
    let is_bytes = tag & 7 == 2;
    let (number, value) = if is_bytes {
        let length = usize::try_from(fields.varint()?).unwrap_or(usize::MAX);
        (u32::try_from(tag >> 3).unwrap_or(0), length)
    } else {
        fields = Fields::new(bytes, offset);
        (fields.field()?.number, 0)
    };
    if number == 0 {
        return Err(fields.error("a field number is out of range"));
    }
    Ok(Header { number, is_bytes, header: bytes.len().saturating_sub(fields.rest.len()), value })
}

impl<'b> Iterator for Fields<'b> {
    type Item = Result<Field<'b>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}
