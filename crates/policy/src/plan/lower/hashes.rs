//! Selectors that ask what the hash of the hook's file is.

use saker_abi::generated::{SAKER_HASH_MAX, SAKER_PLAN_BY_HASH};

use super::builder::{Builder, HashPlan};
use super::{Lowering, texts};
use crate::diagnostic::{At, Spanned};
use crate::model::{ActionKind, FileHashFilter, Hook, Selector, Target};
use crate::values::{FileHash, HashAlgorithm};
use crate::words::WithoutHash;

/// Hashes of one filter.
const HASHES_MAX: usize = 65_536;

/// Whether a selector of a hook asks what the hash is: then calls are decided when it is known.
pub(super) fn decide(hook: &Hook) -> bool {
    hook.selectors.iter().any(|selector| selector.file_hashes.is_some())
}

/// Puts what selectors ask of the hash into the plan.
pub(super) fn lower(cx: &mut Lowering<'_>, hook: &Hook, builder: &mut Builder, at: &At) {
    if !decide(hook) {
        return;
    }
    let Target::Lsm(name) = &hook.target else { return };
    let found = if by_build_ids(cx, hook, at) {
        let hint = "a file is also known by its hash (`matchFileHashes`), and by its path: `matchArgs` on an argument of \
                    `type: file`";
        cx.kernel.reads_files(&name.value).map(|()| HashAlgorithm::BuildId).map_err(|reason| (reason, hint))
    } else {
        let hint = "without hashes a file is known by its path: `matchArgs` on an argument of `type: file`";
        let found = cx.kernel.hashes_files(&name.value).and_then(|()| cx.kernel.hash_algorithm());
        found.map_err(|reason| (reason, hint))
    };
    let algorithm = match found {
        Ok(algorithm) => algorithm,
        Err((reason, hint)) => {
            cx.report.error_hint(at, reason, hint);
            return;
        }
    };
    let count = u32::try_from(hook.selectors.len()).unwrap_or(u32::MAX);
    let mut plan = HashPlan { set: cx.new_set(count), algorithm: algorithm.number(), ..HashPlan::default() };
    for ((index, selector), set) in hook.selectors.iter().enumerate().zip(plan.set..) {
        let bit = u32::try_from(index).ok().and_then(|index| 1_u64.checked_shl(index)).unwrap_or_default();
        if tells(selector) {
            plan.told |= bit;
        }
        let Some(filter) = &selector.file_hashes else { continue };
        if filter.negated {
            plan.not_in |= bit;
        } else {
            plan.within |= bit;
        }
        if filter.without == WithoutHash::Tell {
            plan.lenient |= bit;
        }
        let path = at.path.field("selectors").index(index).field(filter.field).index(0);
        values(cx, filter, algorithm, set, &At { span: filter.span, path });
    }
    builder.flag(SAKER_PLAN_BY_HASH);
    builder.hashes(plan);
}

/// Whether it is build ids that the selectors of a hook ask for. All of them ask for the same.
fn by_build_ids(cx: &mut Lowering<'_>, hook: &Hook, at: &At) -> bool {
    let mut filters = hook.selectors.iter().filter_map(|selector| selector.file_hashes.as_ref());
    let is = |filter: &FileHashFilter| filter.field == "matchBuildIds";
    let by_build_ids = filters.next().is_some_and(is);
    if filters.any(|filter| is(filter) != by_build_ids) || by_build_ids && hook.selectors.iter().any(tells) {
        let message = "a hook finds out either hashes or build ids of files";
        cx.report.error_hint(at, message, "make a hook of each; the same hook may stand twice");
    }
    by_build_ids
}

fn tells(selector: &Selector) -> bool {
    selector.actions.iter().any(|action| matches!(&action.kind, ActionKind::Post(post) if post.ima_hash))
}

/// Puts the hashes of a filter into a set.
fn values(cx: &mut Lowering<'_>, filter: &FileHashFilter, algorithm: HashAlgorithm, set: u32, at: &At) {
    let other = |value: &&Spanned<FileHash>| value.value.algorithm != algorithm;
    if let Some(value) = filter.values.iter().find(other) {
        let place = At { span: value.span, path: at.path.field("values") };
        let (own, name) = (algorithm.name(), value.value.algorithm.name());
        let message =
            format!("IMA of this kernel hashes files by {own}, so a hash by {name} would never be met");
        let hint = format!("give the hashes by {own}, or boot with `ima_hash={name}`");
        cx.report.error_hint(&place, message, hint);
        return;
    }
    let mut hashes: Vec<Vec<u8>> = filter.values.iter().map(|value| value.value.bytes.clone()).collect();
    hashes.sort_unstable();
    hashes.dedup();
    if hashes.len() > HASHES_MAX {
        cx.report.error(at, format!("{} hashes are listed, {HASHES_MAX} are possible", hashes.len()));
        return;
    }
    for hash in &mut hashes {
        if algorithm != HashAlgorithm::BuildId {
            hash.resize(SAKER_HASH_MAX as usize, 0);
        }
        cx.sets.texts.push(texts::text_key(set, hash));
    }
}
