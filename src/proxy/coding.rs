//! Content codings: a body as it was before it was compressed, and compressed again in the same way.
//!
//! Bounded both ways; knows nothing of messages. What it does not know, or what is no such coding, is left alone.

use flate2::Compression;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use std::io::{Read, Write};

/// A decoded body is at most this many times as long as the bound of the encoded one.
const GROWS: usize = 4;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    /// As it should be.
    Zlib,
    /// As many write it.
    Deflate,
    Brotli,
}

/// Decodes a body by its `content-encoding`; `None` if that is unknown, wrong, or makes more than is bearable.
pub(super) fn decode(coding: Option<&[u8]>, body: &[u8], bound: usize) -> Option<(Coding, Vec<u8>)> {
    let name = String::from_utf8_lossy(coding.unwrap_or_default()).trim().to_ascii_lowercase();
    let most = bound.saturating_mul(GROWS);
    match name.as_str() {
        "" | "identity" => Some((Coding::Identity, body.to_vec())),
        "gzip" | "x-gzip" => Some((Coding::Gzip, all(MultiGzDecoder::new(body), most)?)),
        "deflate" => match all(ZlibDecoder::new(body), most) {
            Some(plain) => Some((Coding::Zlib, plain)),
            None => Some((Coding::Deflate, all(DeflateDecoder::new(body), most)?)),
        },
        "br" => Some((Coding::Brotli, all(brotli::Decompressor::new(body, 4096), most)?)),
        _ => None,
    }
}

/// Encodes a body again.
pub(super) fn encode(coding: Coding, plain: Vec<u8>) -> Option<Vec<u8>> {
    let level = Compression::fast();
    match coding {
        Coding::Identity => Some(plain),
        Coding::Gzip => {
            let mut out = GzEncoder::new(Vec::new(), level);
            out.write_all(&plain).ok()?;
            out.finish().ok()
        }
        Coding::Zlib => {
            let mut out = ZlibEncoder::new(Vec::new(), level);
            out.write_all(&plain).ok()?;
            out.finish().ok()
        }
        Coding::Deflate => {
            let mut out = DeflateEncoder::new(Vec::new(), level);
            out.write_all(&plain).ok()?;
            out.finish().ok()
        }
        Coding::Brotli => {
            let mut out = brotli::CompressorWriter::new(Vec::new(), 4096, 2, 20);
            out.write_all(&plain).ok()?;
            out.flush().ok()?;
            Some(out.into_inner())
        }
    }
}

fn all(from: impl Read, most: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    from.take(most as u64 + 1).read_to_end(&mut out).ok()?;
    (out.len() <= most).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let plain = b"{\"price\":1.10}".repeat(500);
        for (name, coding) in [
            ("", Coding::Identity),
            ("GZIP", Coding::Gzip),
            ("deflate", Coding::Zlib),
            ("deflate", Coding::Deflate),
            ("br", Coding::Brotli),
        ] {
            let packed = encode(coding, plain.clone()).unwrap();
            assert!(coding == Coding::Identity || packed.len() < plain.len(), "{coding:?}");
            let (found, body) = decode(Some(name.as_bytes()), &packed, 10_000).unwrap();
            assert_eq!((found, body == plain), (coding, true));
        }
    }

    #[test]
    fn what_is_unknown_broken_or_a_bomb_is_left_alone() {
        let bomb = encode(Coding::Gzip, vec![0; 1 << 20]).unwrap();
        let cut = &encode(Coding::Gzip, b"hello hello".to_vec()).unwrap()[..12];
        for (name, body) in
            [("zstd", &b"x"[..]), ("gzip, br", b"x"), ("gzip", b"plain"), ("gzip", cut), ("gzip", &bomb)]
        {
            assert!(decode(Some(name.as_bytes()), body, 1 << 10).is_none(), "{name}");
        }
    }
}
