//! Where uprobes are: files, symbols, offsets, digests.

use super::Context;
use crate::diagnostic::{Problem, Span};
use crate::model::{Digest, DigestAlgorithm, Place, Places, Symbol, Uprobe};
use crate::shape::{Item, Record};
use crate::yaml::shorten;

/// The target of a uprobe.
pub(super) fn uprobe(record: &Record, cx: &mut Context<'_>) -> Option<Uprobe> {
    let places = places(record, cx);
    let mut digests = Vec::new();
    for item in record.list("binaryDigests") {
        let Some(text) = item.text() else { continue };
        match digest(&text.value, text.span) {
            Ok(digest) => digests.push(digest),
            Err(problem) => cx.report.problem(&item.at, problem),
        }
    }
    let ignore = record.record("ignore").is_some_and(|ignore| ignore.flag("digestVerificationFailure"));
    if record.text("path").is_none() && record.get("path").is_some() {
        cx.report.error(&record.at("path"), "the path is empty");
    }
    let path = record.text("path")?;
    Some(Uprobe { path, places: places?, btf: record.text("btfPath"), digests, ignore_digest: ignore })
}

fn places(record: &Record, cx: &mut Context<'_>) -> Option<Places> {
    let given: Vec<&str> =
        ["symbols", "offsets", "addrs"].into_iter().filter(|name| record.given(name)).collect();
    let [field] = given[..] else {
        let message = match given[..] {
            [] => "a uprobe needs a place".to_owned(),
            _ => format!("`{}` cannot stand together", given.join("` and `")),
        };
        cx.report.error_hint(&record.at, message, "give one of `symbols`, `offsets`, `addrs`");
        return None;
    };
    let items = record.list(field);
    if items.is_empty() && record.get(field).is_some() {
        cx.report.error(&record.at(field), "at least one place is needed");
    }
    let semaphores: Vec<u64> = record.list("refCtrOffsets").iter().filter_map(Item::integer).collect();
    if record.given("refCtrOffsets") && semaphores.len() != items.len() {
        let message = format!("{} semaphores for {} places", semaphores.len(), items.len());
        let hint = "give one for each place, in the same order";
        cx.report.error_hint(&record.at("refCtrOffsets"), message, hint);
    }
    if field == "symbols" {
        let mut symbols = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let Some(text) = item.text() else { continue };
            match symbol(&text.value) {
                Ok(at) => {
                    symbols.push(Place { span: text.span, at, semaphore: semaphores.get(index).copied() });
                }
                Err(problem) => cx.report.problem(&item.at, problem),
            }
        }
        return Some(Places::Symbols(symbols));
    }
    let place = |(index, item): (usize, &Item)| {
        Some(Place { span: item.at.span, at: item.integer()?, semaphore: semaphores.get(index).copied() })
    };
    let places = items.iter().enumerate().filter_map(place).collect();
    Some(if field == "offsets" { Places::Offsets(places) } else { Places::Addresses(places) })
}

/// A symbol, with an offset behind its beginning if `+0x…` says one.
pub(crate) fn symbol(text: &str) -> Result<Symbol, Problem> {
    let (name, offset) = match text.rsplit_once('+') {
        Some((name, offset)) if offset.starts_with("0x") => {
            let number = crate::values::number(offset).ok().and_then(|number| u64::try_from(number).ok());
            let wrong = || Problem::new(format!("`{}` is not an offset", shorten(offset)));
            (name, number.ok_or_else(wrong)?)
        }
        _ => (text, 0),
    };
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Problem::new(format!("`{}` is not a symbol", shorten(text))));
    }
    Ok(Symbol { name: name.to_owned(), offset })
}

fn digest(text: &str, span: Span) -> Result<Digest, Problem> {
    let wrong = |reason: &str| {
        let hint = "such as `sha256:` and 64 hexadecimal digits; sha1, sha256, sha384, sha512, build-id";
        Problem::hint(format!("`{}` is not a digest: {reason}", shorten(text)), hint)
    };
    let (name, digits) = text.split_once(':').ok_or_else(|| wrong("there is no `:`"))?;
    let (algorithm, length) = match name {
        "sha1" => (DigestAlgorithm::Sha1, Some(20)),
        "sha256" => (DigestAlgorithm::Sha256, Some(32)),
        "sha384" => (DigestAlgorithm::Sha384, Some(48)),
        "sha512" => (DigestAlgorithm::Sha512, Some(64)),
        "build-id" => (DigestAlgorithm::BuildId, None),
        _ => return Err(wrong("the algorithm is not known")),
    };
    let digits = digits.as_bytes();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let hex = digits.iter().all(u8::is_ascii_hexdigit) && digits.len() % 2 == 0 && !digits.is_empty();
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(pair).collect();
    let bytes = bytes.filter(|_| hex).ok_or_else(|| wrong("its digits are not hexadecimal pairs"))?;
    if length.is_some_and(|length| length != bytes.len()) || bytes.len() > 64 {
        return Err(wrong("it has the wrong length"));
    }
    Ok(Digest { span, algorithm, bytes })
}
