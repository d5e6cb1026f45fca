//! Names as the kernel gives them, which are bytes, to text.
//!
//! Invalid UTF-8 is replaced by U+FFFD, one for each maximal invalid part, so that the same bytes always
//! give the same text.

use std::ops::Range;

/// Appends `bytes` to `out`; returns whether all of it was valid UTF-8.
pub fn push_lossy(out: &mut String, bytes: &[u8]) -> bool {
    if let Ok(text) = str::from_utf8(bytes) {
        out.push_str(text);
        return true;
    }
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
    false
}

/// Appends the path whose components are given from the leaf up, each ended by NUL: `b\0a\0` is `/a/b`, and
/// nothing is `/`.
///
/// Of a path that is not `complete` the root's side is missing; it starts without a slash, which no whole
/// path does.
pub fn push_path(out: &mut String, components: &[u8], complete: bool) {
    let components = components.strip_suffix(b"\0").unwrap_or(components);
    if components.is_empty() {
        if complete {
            out.push('/');
        }
        return;
    }
    out.reserve(components.len() + 1);
    // Whether it is text is asked once for the whole: NUL divides text only between characters.
    if let Ok(text) = str::from_utf8(components) {
        return push_names(complete, names(components), |slash, range| {
            out.push_str(slash);
            out.push_str(&text[range]);
        });
    }
    push_names(complete, names(components), |slash, range| {
        out.push_str(slash);
        push_lossy(out, &components[range]);
    });
}

fn push_names(
    complete: bool,
    names: impl Iterator<Item = Range<usize>>,
    mut push: impl FnMut(&str, Range<usize>),
) {
    let mut slash = if complete { "/" } else { "" };
    for name in names {
        push(slash, name);
        slash = "/";
    }
}

/// Where the names are that NUL divides, from the last to the first.
fn names(components: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut end = Some(components.len());
    std::iter::from_fn(move || {
        let stop = end?;
        let divider = components[..stop].iter().rposition(|byte| *byte == 0);
        end = divider;
        Some(divider.map_or(0, |at| at + 1)..stop)
    })
}

/// Splits an argument vector or an environment, each part of which is ended by NUL. A last part without NUL,
/// as a cut vector has it, counts too.
pub fn split_vector(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.iter().position(|byte| *byte == 0);
        let part = &rest[..end.unwrap_or(rest.len())];
        rest = end.map_or(&[][..], |end| &rest[end + 1..]);
        Some(part)
    })
}

/// Major and minor number of a device number in the kernel's form.
#[must_use]
pub const fn device(dev: u32) -> (u32, u32) {
    (dev >> 20, dev & 0xf_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(components: &[u8], complete: bool) -> String {
        let mut out = String::new();
        push_path(&mut out, components, complete);
        out
    }

    #[test]
    fn components_are_turned_round() {
        assert_eq!(path(b"", true), "/");
        assert_eq!(path(b"b\0a\0", true), "/a/b");
        assert_eq!(path(b"b\0a", true), "/a/b");
        assert_eq!(path(b"passwd\0etc\0", false), "etc/passwd");
        assert_eq!(path(b"", false), "");
        assert_eq!(path(b"\xff\xfex\0\xc3\xa4\0", true), "/\u{e4}/\u{fffd}\u{fffd}x");
    }

    #[test]
    fn vectors_keep_empty_parts() {
        let parts = |bytes| split_vector(bytes).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert!(parts(b"").is_empty());
        assert_eq!(parts(b"\0"), [b"".to_vec()]);
        assert_eq!(parts(b"sh\0\0-c\0"), [b"sh".to_vec(), vec![], b"-c".to_vec()]);
        assert_eq!(parts(b"sh\0-c"), [b"sh".to_vec(), b"-c".to_vec()]);
    }

    #[test]
    fn devices_are_split() {
        assert_eq!(device(0x0880_0001), (0x88, 1));
    }
}
