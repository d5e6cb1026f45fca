//! Clients that name the socket's path as the host.
//!
//! gRPC's C core (Python, C++, Ruby, PHP), Java and Swift send the path of a Unix socket, percent-encoded or as it
//! is, as `:authority`. The HTTP/2 implementation underneath refuses such a request before anything of ours sees
//! it. On this socket nothing depends on that name, so the bytes that cannot stand in one are replaced on the way
//! in, each by one of the same length: neither lengths nor the state of the header compression change.
//!
//! Only complete HEADERS frames are looked at, and of them only literal fields named `:authority`, by its index in
//! the static table or, as the C core does, spelled out. What is not understood passes unchanged and is judged as
//! before.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tonic::transport::server::{Connected, UdsConnectInfo};

const PREFACE: usize = 24;
const FRAME_HEADER: usize = 9;
/// Largest frame that a peer may send unless told otherwise; longer ones are refused anyway.
const MAX_FRAME: usize = 16_384;
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// Index of `:authority` in the static table (RFC 7541, appendix A).
const AUTHORITY: usize = 1;

/// A connection whose requests have a host name that the server takes.
pub struct Tolerant {
    stream: UnixStream,
    rewriter: Rewriter,
    /// Room for one read.
    input: Box<[u8]>,
}

impl Tolerant {
    /// A connection that was accepted.
    pub fn new(stream: UnixStream) -> Self {
        Self { stream, rewriter: Rewriter::default(), input: vec![0; 4096].into() }
    }
}

impl Connected for Tolerant {
    type ConnectInfo = UdsConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Tolerant {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.rewriter.give(to) {
                return Poll::Ready(Ok(()));
            }
            let mut input = ReadBuf::new(&mut this.input);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut input))?;
            if input.filled().is_empty() {
                this.rewriter.end();
                this.rewriter.give(to);
                return Poll::Ready(Ok(()));
            }
            this.rewriter.take(input.filled());
        }
    }
}

impl AsyncWrite for Tolerant {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Follows the frames. It holds one HEADERS frame at most, beside what the last read brought.
struct Rewriter {
    bytes: Vec<u8>,
    /// Of these, how many may be given on.
    ready: usize,
    /// How many that are still to come pass unseen.
    pass: usize,
}

impl Default for Rewriter {
    fn default() -> Self {
        Self { bytes: Vec::new(), ready: 0, pass: PREFACE }
    }
}

impl Rewriter {
    fn take(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        loop {
            let passing = self.pass.min(self.bytes.len() - self.ready);
            self.pass -= passing;
            self.ready += passing;
            let rest = self.bytes.get_mut(self.ready..).unwrap_or_default();
            let Some(&[high, middle, low, kind, flags, ..]) = rest.first_chunk::<FRAME_HEADER>() else {
                return;
            };
            let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
            if kind == HEADERS && length <= MAX_FRAME {
                let Some(payload) = rest.get_mut(FRAME_HEADER..FRAME_HEADER + length) else { return };
                if let Some(block) = block_of(payload, flags) {
                    rewrite_block(block);
                }
            }
            self.pass = FRAME_HEADER + length;
        }
    }

    /// What is there of a last frame is not going to be complete.
    fn end(&mut self) {
        self.ready = self.bytes.len();
    }

    /// Gives on what there is room for; `false`: there is nothing.
    fn give(&mut self, to: &mut ReadBuf<'_>) -> bool {
        let given = self.ready.min(to.remaining());
        if let Some(bytes) = self.bytes.get(..given) {
            to.put_slice(bytes);
        }
        self.bytes.drain(..given);
        self.ready -= given;
        given > 0
    }
}

/// The header block of a HEADERS frame (RFC 9113, section 6.2).
fn block_of(payload: &mut [u8], flags: u8) -> Option<&mut [u8]> {
    let (mut begin, mut end) = (0, payload.len());
    if flags & PADDED != 0 {
        end = end.checked_sub(usize::from(*payload.first()?))?;
        begin += 1;
    }
    if flags & PRIORITY != 0 {
        begin += 5;
    }
    payload.get_mut(begin..end)
}

/// Goes through the fields of a block (RFC 7541, section 6) as far as they are complete.
fn rewrite_block(block: &mut [u8]) -> Option<()> {
    let mut at = 0;
    loop {
        let first = *block.get(at)?;
        let (name, literal) = match first {
            0x80.. => (integer(block, &mut at, 7)?, false),
            0x40.. => (integer(block, &mut at, 6)?, true),
            0x20.. => (integer(block, &mut at, 5)?, false),
            _ => (integer(block, &mut at, 4)?, true),
        };
        if !literal {
            continue;
        }
        let is_authority = if name == 0 {
            let (spelled, huffman) = string(block, &mut at)?;
            !huffman && spelled == b":authority"
        } else {
            name == AUTHORITY
        };
        let (value, huffman) = string(block, &mut at)?;
        if is_authority {
            if huffman { rewrite_huffman(value) } else { rewrite_plain(value) }
        }
    }
}

/// An integer of a prefix of so many bits (RFC 7541, section 5.1).
fn integer(block: &[u8], at: &mut usize, bits: u32) -> Option<usize> {
    let mask = (1_usize << bits) - 1;
    let mut value = usize::from(*block.get(*at)?) & mask;
    *at += 1;
    if value < mask {
        return Some(value);
    }
    for shift in [0, 7, 14] {
        let byte = usize::from(*block.get(*at)?);
        *at += 1;
        value += (byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// A string and whether it is in the Huffman code (RFC 7541, section 5.2).
fn string<'a>(block: &'a mut [u8], at: &mut usize) -> Option<(&'a mut [u8], bool)> {
    let huffman = *block.get(*at)? & 0x80 != 0;
    let length = integer(block, at, 7)?;
    let value = block.get_mut(*at..at.checked_add(length)?)?;
    *at += length;
    Some((value, huffman))
}

/// A path becomes a name: `%2Frun%2Fsaker.sock` is `-2Frun-2Fsaker.sock`. What is a host name stays.
fn rewrite_plain(value: &mut [u8]) {
    for byte in value {
        if matches!(*byte, b'%' | b'/') {
            *byte = b'-';
        }
    }
}

/// The same in the Huffman code, whose lengths follow from its values: it is canonical (RFC 7541, appendix B).
/// `%`, `/` and `-` have six bits each. Longer codes than any that a path needs end it.
fn rewrite_huffman(value: &mut [u8]) {
    const PERCENT: usize = 0x15;
    const HYPHEN: usize = 0x16;
    const SLASH: usize = 0x18;
    /// Bits of a code, and the first value that is none of that length.
    const LENGTHS: [(usize, usize); 4] = [(5, 0x0a), (6, 0x2e), (7, 0x7c), (8, 0xfe)];
    let bit = |value: &[u8], at: usize| value.get(at / 8).map(|byte| usize::from(byte >> (7 - at % 8) & 1));
    let read = |value: &[u8], at: usize, bits: usize| {
        (at..at + bits).try_fold(0, |code, at| Some(code << 1 | bit(value, at)?))
    };
    let mut at = 0;
    loop {
        let fits = |&(bits, end): &(usize, usize)| {
            read(value, at, bits).filter(|code| *code < end).map(|code| (bits, code))
        };
        let Some((bits, code)) = LENGTHS.iter().find_map(fits) else { return };
        if bits == 6 && matches!(code, PERCENT | SLASH) {
            for offset in 0..6 {
                let place = at + offset;
                let Some(byte) = value.get_mut(place / 8) else { return };
                let mask = 0x80 >> (place % 8);
                if HYPHEN >> (5 - offset) & 1 == 1 { *byte |= mask } else { *byte &= !mask }
            }
        }
        at += bits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 1]);
        frame.extend_from_slice(payload);
        frame
    }

    fn field(name: u8, value: &[u8], huffman: bool) -> Vec<u8> {
        let length = u8::try_from(value.len()).unwrap() | if huffman { 0x80 } else { 0 };
        [&[name, length], value].concat()
    }

    /// What comes out when the bytes arrive in pieces of this length.
    fn through(bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut rewriter = Rewriter::default();
        let mut out = Vec::new();
        let mut give = |rewriter: &mut Rewriter| {
            let mut room = [0; 7];
            let mut buffer = ReadBuf::new(&mut room);
            while rewriter.give(&mut buffer) {
                out.extend_from_slice(buffer.filled());
                buffer.clear();
            }
        };
        for piece in bytes.chunks(piece) {
            rewriter.take(piece);
            give(&mut rewriter);
        }
        rewriter.end();
        give(&mut rewriter);
        out
    }

    #[test]
    fn a_path_becomes_a_name_however_it_arrives() {
        let stream = |authority: &[u8]| {
            let block =
                [&[0x83_u8, 0x20][..], &field(0x44, b"/a/b%2F", false), &field(0x41, authority, false)];
            let mut padded = vec![3, 0, 0, 0, 0, 16];
            padded.extend_from_slice(&block.concat());
            padded.extend([b'%'; 3]);
            let frames = [
                vec![b'%'; PREFACE],
                frame(4, 0, b"%%%%%%"),
                frame(HEADERS, PADDED | PRIORITY, &padded),
                frame(0, 0, &field(0x41, b"%2F", false)),
                frame(HEADERS, 0, &field(0x01, authority, false)),
                frame(HEADERS, 0, &[0xbe])[..4].to_vec(),
            ];
            frames.concat()
        };
        let (sent, wanted) = (stream(b"%2Frun%2Fx.sock"), stream(b"-2Frun-2Fx.sock"));
        for piece in [1, 2, 9, 24, 1000] {
            assert_eq!(through(&sent, piece), wanted, "pieces of {piece}");
        }
        assert_eq!(through(&stream(b"localhost:54321"), 5), stream(b"localhost:54321"));
        assert_eq!(through(&stream(b"/run/x.sock"), 5), stream(b"-run-x.sock"));
    }

    /// The codes that the test needs, as in the RFC's table.
    fn huffman(text: &str) -> Vec<u8> {
        let code = |byte| match byte {
            '%' => "010101",
            '/' => "011000",
            '-' => "010110",
            '.' => "010111",
            '2' => "00010",
            's' => "01000",
            'k' => "1110101",
            'F' => "1100010",
            'X' => "11111100",
            _ => panic!("{byte}"),
        };
        let mut bits: String = text.chars().map(code).collect();
        while !bits.len().is_multiple_of(8) {
            bits.push('1');
        }
        bits.as_bytes()
            .chunks(8)
            .map(|bits| u8::from_str_radix(std::str::from_utf8(bits).unwrap(), 2).unwrap())
            .collect()
    }

    /// The beginning of what grpcio 1.85.3 sends: it spells out names that the static table has.
    #[test]
    fn a_name_that_is_spelled_out_is_known() {
        let sent = b"@\x05:path\x04/a%2@\n:authority\x1ctmp%2Fexample-1%2Fsaker.sock\x83\x86";
        let wanted = b"@\x05:path\x04/a%2@\n:authority\x1ctmp-2Fexample-1-2Fsaker.sock\x83\x86";
        let mut block = sent.to_vec();
        rewrite_block(&mut block);
        assert_eq!(block, wanted);
    }

    #[test]
    fn compressed_names_too() {
        for text in ["%2Fs%2Fk.sXk", "/s/Xk.s%k", "sk.k"] {
            let mut value = huffman(text);
            rewrite_huffman(&mut value);
            assert_eq!(value, huffman(&text.replace(['%', '/'], "-")), "{text}");
        }
    }

    #[test]
    fn nonsense_passes_unchanged() {
        let mut state = 1_u32;
        for length in 0..400 {
            let mut bytes = vec![b'p'; PREFACE];
            bytes.extend((0..length).map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            }));
            assert_eq!(through(&bytes, 3).len(), bytes.len());
        }
        let open = [vec![b'p'; PREFACE], frame(HEADERS, PADDED, &[200, 1, 2]), frame(HEADERS, 0, &[0x7f; 9])];
        assert_eq!(through(&open.concat(), 4), open.concat());
    }
}
