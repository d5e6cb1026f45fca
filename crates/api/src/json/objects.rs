//! Files in lines.
//!
//! Events in a row are often of a few files, so the text of a file that came again is kept and copied.

use std::sync::Arc;

use super::text::{comma, flag_field, number, string_field};
use crate::event::{Object, ObjectKind, PATH_CUT};

/// Files whose texts are kept; a power of two.
const PLACES: usize = 64;
/// Bytes of a path whose text is kept. Longer ones are not shared among events, so that none comes twice.
const LONGEST: usize = 512;

/// Texts of files that came more than once. It holds the paths of these, so that nothing else has their addresses.
#[derive(Debug)]
pub(super) struct Objects([Place; PLACES]);

#[derive(Debug, Default)]
struct Place {
    /// Address of the path that was here last. It says nothing of whether it is still there.
    tag: usize,
    /// Made when the path comes the second time.
    known: Option<Box<Known>>,
}

#[derive(Debug)]
struct Known {
    object: Object,
    text: Box<[u8]>,
    /// What only Saker tells begins there.
    extra: usize,
}

impl Default for Objects {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Place::default()))
    }
}

impl Objects {
    /// Appends what [`write`] does.
    pub(super) fn write(&mut self, object: &Object, label: Option<&str>, extras: bool, out: &mut Vec<u8>) {
        let tag = object.path.as_ptr().addr();
        // What the C library allocates is aligned to sixteen bytes.
        let place = &mut self.0[(tag >> 4) % PLACES];
        if let Some(known) = &place.known
            && is_same(&known.object, object)
        {
            return known.write(label, extras, out);
        }
        let again = std::mem::replace(&mut place.tag, tag) == tag && object.path.len() <= LONGEST;
        place.known = again.then(|| Box::new(Known::new(object)));
        write(object, label, extras, out);
    }
}

/// Whether two are the same, and have one path in memory.
fn is_same(one: &Object, other: &Object) -> bool {
    let Object { kind, path, cut, unreachable, mode, inode, device } = one;
    Arc::ptr_eq(path, &other.path)
        && (*inode, *device, *mode) == (other.inode, other.device, other.mode)
        && (*kind, *cut, *unreachable) == (other.kind, other.cut, other.unreachable)
}

impl Known {
    fn new(object: &Object) -> Self {
        let mut text = Vec::new();
        write_value(object, &mut text);
        let extra = text.len();
        write_extra(object, &mut text);
        Self { object: object.clone(), text: text.into(), extra }
    }

    fn write(&self, label: Option<&str>, extras: bool, out: &mut Vec<u8>) {
        match (label, extras) {
            (None, true) => out.extend_from_slice(&self.text),
            (None, false) => out.extend_from_slice(&self.text[..self.extra]),
            (Some(label), _) => {
                out.extend_from_slice(&self.text[..self.extra]);
                string_field(out, name!("label"), label);
                if extras {
                    out.extend_from_slice(&self.text[self.extra..]);
                }
            }
        }
        out.push(b'}');
    }
}

/// Appends the object of an argument that is a file, with what only Saker tells when `extras` are shown.
pub(super) fn write(object: &Object, label: Option<&str>, extras: bool, out: &mut Vec<u8>) {
    write_value(object, out);
    string_field(out, name!("label"), label.unwrap_or_default());
    if extras {
        write_extra(object, out);
    }
    out.push(b'}');
}

/// The beginning, up to where the label comes.
fn write_value(object: &Object, out: &mut Vec<u8>) {
    // It is the first member, so that no commas are needed.
    out.extend_from_slice(match object.kind {
        ObjectKind::File => b"{\"file_arg\":{".as_slice(),
        ObjectKind::Path => b"{\"path_arg\":{",
        ObjectKind::Binprm => b"{\"linux_binprm_arg\":{",
    });
    string_field(out, name!("path"), &object.path);
    if object.cut {
        string_field(out, name!("flags"), PATH_CUT);
    }
    comma(out);
    let mut permission = *b"\"permission\":\"----------\"}";
    permission[14..24].copy_from_slice(&object.permission());
    out.extend_from_slice(&permission);
}

fn write_extra(object: &Object, out: &mut Vec<u8>) {
    // They stand behind other members.
    if object.inode != 0 {
        out.extend_from_slice(b",\"inode\":\"");
        number(out, object.inode);
        out.push(b'"');
    }
    if object.device != (0, 0) {
        out.extend_from_slice(b",\"device\":\"");
        number(out, u64::from(object.device.0));
        out.push(b':');
        number(out, u64::from(object.device.1));
        out.push(b'"');
    }
    flag_field(out, name!("unreachable"), object.unreachable);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_long_paths_are_not_kept() {
        for (bytes, kept) in [(LONGEST, 1), (LONGEST + 1, 0)] {
            let object = Object {
                kind: ObjectKind::File,
                path: "x".repeat(bytes).into(),
                cut: false,
                unreachable: false,
                mode: 0,
                inode: 0,
                device: (0, 0),
            };
            let mut objects = Objects::default();
            for _ in 0..3 {
                objects.write(&object, None, true, &mut Vec::new());
            }
            assert_eq!(objects.0.iter().filter(|place| place.known.is_some()).count(), kept);
        }
    }

    #[test]
    fn what_is_kept_is_written_as_what_is_not() {
        let object = Object {
            kind: ObjectKind::File,
            path: "/srv/a \"b\"".into(),
            cut: false,
            unreachable: false,
            mode: 0o100_640,
            inode: 7,
            device: (8, 1),
        };
        // One path in memory; the last has another that is equal.
        let others = [
            object.clone(),
            Object { mode: 0o100_600, ..object.clone() },
            Object { inode: 8, ..object.clone() },
            Object { device: (0, 0), ..object.clone() },
            Object { cut: true, ..object.clone() },
            Object { unreachable: true, ..object.clone() },
            Object { kind: ObjectKind::Path, ..object.clone() },
            Object { path: "/srv/a \"b\"".into(), ..object.clone() },
        ];
        let mut objects = Objects::default();
        for other in others.iter().chain(&others) {
            for (label, extras) in [(None, true), (None, false), (Some("l"), true), (Some("l"), false)] {
                let (mut kept, mut expected) = (Vec::new(), Vec::new());
                for _ in 0..3 {
                    objects.write(&object, label, extras, &mut Vec::new());
                }
                for _ in 0..3 {
                    objects.write(other, label, extras, &mut kept);
                    write(other, label, extras, &mut expected);
                }
                assert_eq!(String::from_utf8(kept).unwrap(), String::from_utf8(expected).unwrap());
            }
        }
    }
}
