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
    /// Where the message ends in the whole input.
    end: usize,
}

/// What is wrong with a field. Where it is, only who tells somebody needs to know.
pub(super) type Damage = &'static str;

impl<'b> Fields<'b> {
    /// The fields of `message`, which starts at `offset` of the whole input.
    #[inline]
    pub(crate) fn new(message: &'b [u8], offset: usize) -> Self {
        Fields { rest: message, end: offset.saturating_add(message.len()) }
    }

    /// The fields up to the first that is damaged.
    #[inline]
    pub(crate) fn whole(message: &'b [u8]) -> impl Iterator<Item = Field<'b>> {
        let mut fields = Fields::new(message, 0);
        std::iter::from_fn(move || fields.read().ok().flatten())
    }

    /// Where a value that was just read starts.
    pub(crate) fn start_of(&self, value: &[u8]) -> usize {
        self.offset().saturating_sub(value.len())
    }

    fn offset(&self) -> usize {
        self.end.saturating_sub(self.rest.len())
    }

    /// The error that this damage is, right after it was found.
    #[cold]
    pub(super) fn error(&self, what: Damage) -> DecodeError {
        DecodeError::Protobuf { offset: self.offset(), what }
    }

    #[inline(always)]
    fn varint(&mut self) -> Result<u64, Damage> {
        match *self.rest {
            [byte, ref rest @ ..] if byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Damage> {
        let mut number = 0u64;
        for shift in (0..70u32).step_by(7) {
            let Some((byte, rest)) = self.rest.split_first() else { return Err("a number is cut off") };
            self.rest = rest;
            number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a number has more than ten bytes")
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or("a number is cut off")?;
        self.rest = rest;
        Ok(*bytes)
    }

    #[inline(always)]
    fn field(&mut self) -> Result<Field<'b>, Damage> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let number = number.ok_or("a field number is out of range")?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                let taken = self.rest.split_at_checked(length);
                let (bytes, rest) = taken.ok_or("a field is longer than what is left")?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err("a field has an unknown wire type"),
        };
        Ok(Field { number, value })
    }

    /// The next field; `None` at the end of the message. After damage nothing is to be read.
    #[inline(always)]
    pub(crate) fn read(&mut self) -> Result<Option<Field<'b>>, Damage> {
        if self.rest.is_empty() { Ok(None) } else { self.field().map(Some) }
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
    let read = read_header(&mut fields, bytes, offset);
    let (is_bytes, number, value) = read.map_err(|what| fields.error(what))?;
    if number == 0 {
        return Err(fields.error("a field number is out of range"));
    }
    Ok(Header { number, is_bytes, header: bytes.len().saturating_sub(fields.rest.len()), value })
}

/// Whether the value is bytes, the number of the field, and how many bytes the value has.
fn read_header<'b>(
    fields: &mut Fields<'b>,
    bytes: &'b [u8],
    offset: usize,
) -> Result<(bool, u32, usize), Damage> {
    let tag = fields.varint()?;
    if tag & 7 == 2 {
        let length = usize::try_from(fields.varint()?).unwrap_or(usize::MAX);
        return Ok((true, u32::try_from(tag >> 3).unwrap_or(0), length));
    }
    *fields = Fields::new(bytes, offset);
    Ok((false, fields.field()?.number, 0))
}

impl<'b> Iterator for Fields<'b> {
    type Item = Result<Field<'b>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.read() {
            Ok(field) => field.map(Ok),
            Err(what) => {
                let error = self.error(what);
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}
