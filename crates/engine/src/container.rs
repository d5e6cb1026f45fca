//! Container ids in names of control groups.

/// Characters of a container id that events show.
const SHOWN: usize = 31;
/// Length of a whole container id.
const WHOLE: usize = 64;

/// The first 31 characters of the container id that the last component of a cgroup path names, e.g.
/// `cri-containerd-<id>.scope`, `docker-<id>.scope`, `<id>` or `system.slice:docker:<id>`.
///
/// An id has at least 64 characters, or 31 when the name was `cut`; names of services are none.
#[must_use]
pub fn container_id(name: &str, cut: bool) -> Option<&str> {
    if name.ends_with("service") {
        return None;
    }
    let name = name.strip_suffix(".scope").unwrap_or(name);
    let id = name.rsplit(['-', ':']).next()?;
    let least = if cut { SHOWN } else { WHOLE };
    if id.len() < least || !id.is_ascii() {
        return None;
    }
    id.get(..SHOWN)
}

#[cfg(test)]
mod tests {
    use super::container_id;

    const ID: &str = "4ef4e5cb9b1a7e1d6d1d8e3f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b";

    #[test]
    fn ids_are_found_behind_every_prefix() {
        for name in [
            ID.to_owned(),
            format!("docker-{ID}.scope"),
            format!("cri-containerd-{ID}.scope"),
            format!("crio-{ID}"),
            format!("libpod-{ID}.scope"),
            format!("system.slice:docker:{ID}"),
        ] {
            assert_eq!(container_id(&name, false), Some(&ID[..31]), "{name}");
        }
    }

    #[test]
    fn other_names_are_no_containers() {
        for name in
            ["", "init.scope", "user@1000.service", "session-1.scope", &ID[..63], &format!("{ID}.service")]
        {
            assert_eq!(container_id(name, false), None, "{name}");
        }
        assert_eq!(container_id(&format!("docker-{}", "\u{e4}".repeat(64)), false), None);
    }

    #[test]
    fn cut_names_need_only_what_is_shown() {
        assert_eq!(container_id(&format!("docker-{}", &ID[..40]), true), Some(&ID[..31]));
        assert_eq!(container_id(&format!("docker-{}", &ID[..40]), false), None);
    }
}
