//! Documents of a run, packed.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use longpole::Report;

/// What a document may unpack to: what is larger was not written by this program.
const MAX_UNPACKED: u64 = 2 << 30;

/// `bytes`, packed with gzip. The fastest level: a run is written while somebody waits.
pub(crate) fn pack(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut packed = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    packed.write_all(bytes)?;
    packed.finish()
}

/// The report as it is kept: JSON without white space.
pub(crate) fn pack_report(report: &Report) -> io::Result<Vec<u8>> {
    pack(&serde_json::to_vec(report)?)
}

pub(crate) fn unpack(packed: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    GzDecoder::new(packed).take(MAX_UNPACKED).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(crate) fn unpack_report(packed: &[u8]) -> io::Result<Report> {
    Ok(serde_json::from_slice(&unpack(packed)?)?)
}
