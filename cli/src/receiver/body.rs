//! The body of a request: all of it, unpacked, within bounds.

use std::io::Read;

use bytes::{Bytes, BytesMut};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http_body_util::BodyExt;
use hyper::body::Body;

use super::inbox::{Hold, Problem};

/// How much is unpacked before it is looked whether there is room.
const CHUNK: usize = 64 << 10;
/// What stands before a gRPC message: whether it is packed, and its length.
const GRPC_PREFIX: usize = 5;

/// Reads a body of at most `limit` bytes.
pub(super) async fn read(
    mut body: impl Body<Data = Bytes, Error = hyper::Error> + Unpin,
    limit: usize,
    hold: &mut Hold,
) -> Result<Bytes, Problem> {
    let told = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if told > limit {
        return Err(Problem::TooLong(limit));
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(Problem::CutOff)?.into_data() else { continue };
        if first.len().saturating_add(all.len()).saturating_add(data.len()) > limit {
            return Err(Problem::TooLong(limit));
        }
        hold.grow(data.len())?;
        // Most requests are one frame, which need not be copied.
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.is_empty() {
            all.reserve(told.max(first.len().saturating_add(data.len())));
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// The message of a gRPC body, and whether it is packed.
pub(super) fn grpc_message(body: &Bytes) -> Result<(Bytes, bool), Problem> {
    let Some((&[flag, a, b, c, d], message)) = body.split_first_chunk::<GRPC_PREFIX>() else {
        return Err(Problem::Framing);
    };
    if flag > 1 || usize::try_from(u32::from_be_bytes([a, b, c, d])) != Ok(message.len()) {
        return Err(Problem::Framing);
    }
    Ok((body.slice(GRPC_PREFIX..), flag == 1))
}

/// Unpacks what was packed as `encoding` says, to at most `limit` bytes.
pub(super) fn unpack(packed: Bytes, encoding: &str, limit: usize, hold: &mut Hold) -> Result<Bytes, Problem> {
    match encoding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(packed),
        "gzip" | "x-gzip" => read_out(MultiGzDecoder::new(&packed[..]), limit, hold),
        "deflate" => read_out(ZlibDecoder::new(&packed[..]), limit, hold),
        // The decoder of traces knows it by how it begins.
        "zstd" => Ok(packed),
        _ => Err(Problem::Encoding(encoding.chars().take(40).collect())),
    }
}

fn read_out(mut reader: impl Read, limit: usize, hold: &mut Hold) -> Result<Bytes, Problem> {
    let mut all = Vec::new();
    loop {
        let before = all.len();
        let read = reader.by_ref().take(CHUNK as u64).read_to_end(&mut all).map_err(Problem::Unpacking)?;
        if read == 0 {
            return Ok(all.into());
        }
        if all.len() > limit {
            return Err(Problem::TooLong(limit));
        }
        hold.grow(all.len().saturating_sub(before))?;
    }
}
