//! Findings in captures.
//!
//! ```text
//! u32 own_frames │ u32 kernel │ symbol ... │ u32 user │ symbol ... │ u32 length │ build id
//! symbol:  text name │ text module │ u64 offset
//! ```
//!
//! What follows is that of a newer writer and ignored.

use saker_abi::generated::SAKER_FRAMES_MAX;

use super::policy::{number, put_number, put_text, text, wide};
use crate::findings::{Findings, Symbol};

pub(super) fn to_bytes(findings: &Findings) -> Vec<u8> {
    let mut out = Vec::new();
    put_number(&mut out, findings.own_frames);
    for symbols in [&findings.kernel, &findings.user] {
        put_number(&mut out, symbols.len());
        for symbol in symbols {
            put_text(&mut out, &symbol.name);
            put_text(&mut out, &symbol.module);
            out.extend_from_slice(&symbol.offset.to_le_bytes());
        }
    }
    put_number(&mut out, findings.build_id.len());
    out.extend_from_slice(&findings.build_id);
    out
}

/// `None`: the bytes are no findings.
pub(super) fn from_bytes(bytes: &[u8]) -> Option<Findings> {
    let rest = &mut &*bytes;
    let own_frames = number(rest)? as usize;
    let (kernel, user) = (symbols(rest)?, symbols(rest)?);
    let length = number(rest)? as usize;
    let build_id = rest.get(..length)?.to_vec();
    Some(Findings { own_frames, kernel, user, build_id })
}

fn symbols(rest: &mut &[u8]) -> Option<Vec<Symbol>> {
    let count = number(rest).filter(|count| *count <= SAKER_FRAMES_MAX)?;
    let symbol = |rest: &mut &[u8]| {
        let (name, module) = (text(rest)?.into(), text(rest)?.into());
        Some(Symbol { name, module, offset: wide(rest)? })
    };
    (0..count).map(|_| symbol(rest)).collect()
}
