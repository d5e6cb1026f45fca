//! Values that hooks captured a while ago: what comes again is shared among events and not made anew.
//!
//! Processes mostly use a few files many times, and sockets differ in little but their addresses.

use std::sync::Arc;

use saker_abi::generated::saker_sock;
use saker_api::event::SocketKind;

use crate::values::text;

/// Paths that are kept; a power of two.
const PATHS: usize = 256;
/// Kinds of sockets that are kept; a power of two.
const SOCKETS: usize = 16;
/// Longer paths are not worth keeping.
const LONGEST: usize = 512;
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// What was captured last, bounded: one value for each place, in which another is put when it comes.
#[derive(Debug)]
pub(crate) struct Seen {
    /// By the number of the inode.
    paths: Box<[Option<Arc<str>>; PATHS]>,
    /// By the numbers of the kernel.
    sockets: [Option<(Numbers, Arc<SocketKind>)>; SOCKETS],
    root: Arc<str>,
}

/// What tells kinds of sockets apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Numbers {
    family: u16,
    type_: u16,
    protocol: u16,
    state: u8,
    mark: u32,
    priority: u32,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            paths: Box::new([const { None }; PATHS]),
            sockets: [const { None }; SOCKETS],
            root: Arc::from("/"),
        }
    }
}

impl Seen {
    /// The path of an inode as text. A path that cannot be text is kept as what it is shown as, so that it is never
    /// taken for another one.
    pub fn path(&mut self, inode: u64, bytes: &[u8]) -> Arc<str> {
        if bytes.is_empty() {
            return Arc::clone(&self.root);
        }
        let place = &mut self.paths[place(inode, PATHS)];
        if let Some(known) = place
            && known.as_bytes() == bytes.strip_suffix(b"\0").unwrap_or(bytes)
        {
            return Arc::clone(known);
        }
        let path = Arc::from(text(bytes));
        if bytes.len() <= LONGEST {
            *place = Some(Arc::clone(&path));
        }
        path
    }

    /// What a socket has in common with others; made when there was none of the same numbers.
    pub fn socket_kind(
        &mut self,
        sock: &saker_sock,
        make: impl Fn(&saker_sock) -> SocketKind,
    ) -> Arc<SocketKind> {
        let numbers = Numbers {
            family: sock.family,
            type_: sock.type_,
            protocol: sock.protocol,
            state: sock.state,
            mark: sock.mark,
            priority: sock.priority,
        };
        let of_names = u64::from(sock.family) << 48 | u64::from(sock.protocol) << 24 | u64::from(sock.state);
        match &mut self.sockets[place(of_names, SOCKETS)] {
            Some((known, kind)) if *known == numbers => Arc::clone(kind),
            place => Arc::clone(&place.insert((numbers, Arc::new(make(sock)))).1),
        }
    }
}

/// The place of a number among so many, which are a power of two.
fn place(number: u64, places: usize) -> usize {
    // The high bits of a product depend on all bits of its factor.
    (number.wrapping_mul(MULTIPLIER) >> 32) as usize & (places - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shared_until_its_inode_has_another() {
        let mut seen = Seen::default();
        let first = seen.path(7, b"/srv/a\0");
        assert_eq!(&*first, "/srv/a");
        assert!(Arc::ptr_eq(&first, &seen.path(7, b"/srv/a")));
        // It was moved, or the number is of another file system.
        assert_eq!(&*seen.path(7, b"/srv/b"), "/srv/b");
        assert_eq!(&*seen.path(7, b"/srv/a"), "/srv/a");
        assert_eq!((&*seen.path(7, b""), &*seen.path(0, b"/")), ("/", "/"));
        let long = [b"/".as_slice(), &[b'x'; LONGEST]].concat();
        assert!(!Arc::ptr_eq(&seen.path(8, &long), &seen.path(8, &long)));
    }

    #[test]
    fn a_path_that_is_no_text_is_not_taken_for_what_it_is_shown_as() {
        let mut seen = Seen::default();
        let shown = "/srv/\u{fffd}";
        for _ in 0..2 {
            assert_eq!(&*seen.path(7, b"/srv/\xff"), shown);
            assert_eq!(&*seen.path(7, shown.as_bytes()), shown);
            assert_eq!(&*seen.path(7, b"/srv/\xfe"), shown);
        }
    }

    #[test]
    fn sockets_of_one_kind_share_it() {
        let mut seen = Seen::default();
        let make = |sock: &saker_sock| SocketKind { mark: sock.mark, ..SocketKind::default() };
        let sock = saker_sock { family: 2, type_: 1, protocol: 6, state: 1, ..saker_sock::default() };
        let first = seen.socket_kind(&sock, make);
        assert!(Arc::ptr_eq(&first, &seen.socket_kind(&saker_sock { sport: 9, ..sock }, make)));
        let marked = saker_sock { mark: 3, ..sock };
        assert_eq!(seen.socket_kind(&marked, make).mark, 3);
        assert_eq!(seen.socket_kind(&sock, make).mark, 0);
    }
}
