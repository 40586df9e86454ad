//! Packed input: gzip and zstd, in one piece or several put together, as `cat` and log rotation make them.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";

/// How input is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Zstd,
}

/// How input that begins like this is packed, if it is.
pub(super) fn packing_of(beginning: &[u8]) -> Option<Packing> {
    if beginning.starts_with(GZIP) {
        Some(Packing::Gzip)
    } else if beginning.starts_with(ZSTD) {
        Some(Packing::Zstd)
    } else {
        None
    }
}

/// What `packed` holds. Reading it fails once it is more than `limit` bytes.
pub(super) fn unpacked<'r>(packing: Packing, packed: impl Read + 'r, limit: u64) -> impl Read + 'r {
    Unpacked { packing, member: Member::Between(BufReader::new(packed)), left: limit, limit }
}

/// Reads one member (gzip) or frame (zstd) after the other.
struct Unpacked<R: Read> {
    packing: Packing,
    member: Member<R>,
    left: u64,
    limit: u64,
}

enum Member<R: Read> {
    /// Before a member.
    Between(BufReader<R>),
    Gzip(GzDecoder<BufReader<R>>),
    Zstd(Box<FrameDecoder>, BufReader<R>),
    Ended,
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            let read = match &mut self.member {
                Member::Between(_) => 0,
                Member::Gzip(decoder) => decoder.read(into).map_err(|error| damaged("gzip", error))?,
                Member::Zstd(decoder, rest) => read_frame(decoder, rest, into)?,
                Member::Ended => return Ok(0),
            };
            if read > 0 {
                let limit = self.limit;
                let left = self.left.checked_sub(read as u64);
                self.left = left.ok_or_else(|| {
                    io::Error::new(
                        io::ErrorKind::FileTooLarge,
                        format!("it unpacks to more than {limit} bytes"),
                    )
                })?;
                return Ok(read);
            }
            self.next_member()?;
        }
    }
}

impl<R: Read> Unpacked<R> {
    fn next_member(&mut self) -> io::Result<()> {
        let mut rest = match std::mem::replace(&mut self.member, Member::Ended) {
            Member::Between(rest) | Member::Zstd(_, rest) => rest,
            Member::Gzip(decoder) => decoder.into_inner(),
            Member::Ended => return Ok(()),
        };
        if rest.fill_buf()?.is_empty() {
            return Ok(());
        }
        self.member = match self.packing {
            Packing::Gzip => Member::Gzip(GzDecoder::new(rest)),
            Packing::Zstd => {
                let mut decoder = Box::new(FrameDecoder::new());
                match decoder.init(&mut rest) {
                    Ok(()) => Member::Zstd(decoder, rest),
                    Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                        length,
                        ..
                    })) => {
                        io::copy(&mut rest.by_ref().take(length.into()), &mut io::sink())?;
                        Member::Between(rest)
                    }
                    Err(error) => return Err(damaged("zstd", error)),
                }
            }
        };
        Ok(())
    }
}

fn read_frame(decoder: &mut FrameDecoder, rest: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    while decoder.can_collect() == 0 {
        if decoder.is_finished() {
            let written = decoder.get_checksum_from_data();
            return match written {
                Some(_) if written != decoder.get_calculated_checksum() => {
                    Err(damaged("zstd", "its checksum is another one"))
                }
                _ => Ok(0),
            };
        }
        let strategy = BlockDecodingStrategy::UptoBlocks(1);
        decoder.decode_blocks(&mut *rest, strategy).map_err(|error| damaged("zstd", error))?;
    }
    decoder.read(into)
}

fn damaged(packing: &str, error: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the {packing} data is damaged: {error}"))
}
