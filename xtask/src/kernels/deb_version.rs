//! Debian's ordering of package versions (deb-version(7)).

use std::cmp::Ordering;

/// Compares two versions as `dpkg --compare-versions` does.
pub(crate) fn compare(left: &str, right: &str) -> Ordering {
    let (left_epoch, left) = split_epoch(left);
    let (right_epoch, right) = split_epoch(right);
    let (left, left_revision) = left.rsplit_once('-').unwrap_or((left, ""));
    let (right, right_revision) = right.rsplit_once('-').unwrap_or((right, ""));
    left_epoch
        .cmp(&right_epoch)
        .then_with(|| compare_part(left, right))
        .then_with(|| compare_part(left_revision, right_revision))
}

fn split_epoch(version: &str) -> (u32, &str) {
    version
        .split_once(':')
        .and_then(|(epoch, rest)| Some((epoch.parse().ok()?, rest)))
        .unwrap_or((0, version))
}

/// Compares by turns a run without digits and a number, until a difference shows.
fn compare_part(mut left: &str, mut right: &str) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        let (left_text, left_rest) = split_at(left, |c| c.is_ascii_digit());
        let (right_text, right_rest) = split_at(right, |c| c.is_ascii_digit());
        let (left_number, left_next) = split_at(left_rest, |c| !c.is_ascii_digit());
        let (right_number, right_next) = split_at(right_rest, |c| !c.is_ascii_digit());
        let order =
            compare_text(left_text, right_text).then_with(|| number(left_number).cmp(&number(right_number)));
        if order.is_ne() {
            return order;
        }
        (left, right) = (left_next, right_next);
    }
    Ordering::Equal
}

fn split_at(text: &str, end: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(end).unwrap_or(text.len()))
}

fn number(digits: &str) -> u64 {
    digits.parse().unwrap_or(0)
}

/// `~` sorts before the end of the text, letters before everything else.
fn compare_text(left: &str, right: &str) -> Ordering {
    let weight = |c: Option<char>| match c {
        Some('~') => -1,
        None => 0,
        Some(c) if c.is_ascii_alphabetic() => i64::from(u32::from(c)),
        Some(c) => i64::from(u32::from(c)) + 256,
    };
    let (mut left, mut right) = (left.chars(), right.chars());
    loop {
        let (l, r) = (left.next(), right.next());
        let order = weight(l).cmp(&weight(r));
        if order.is_ne() || (l.is_none() && r.is_none()) {
            return order;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_as_dpkg_does() {
        let ascending = [
            "5.10.9-1",
            "5.10.262-1",
            "6.1.158-1~deb11u1",
            "6.1.158-1",
            "6.12.94-1~bpo12+1",
            "6.12.94-1",
            "7.2~rc3-1~exp1",
            "7.2-1~exp1",
            "7.2.9-1",
            "7.2.13-1",
            "1:5.10-1",
        ];
        for (at, left) in ascending.iter().enumerate() {
            for (other, right) in ascending.iter().enumerate() {
                assert_eq!(compare(left, right), at.cmp(&other), "{left} against {right}");
            }
        }
    }

    #[test]
    fn leading_zeros_and_missing_revisions_do_not_count() {
        assert_eq!(compare("1.02-1", "1.2-1"), Ordering::Equal);
        assert_eq!(compare("1.2", "1.2-0"), Ordering::Equal);
    }
}
