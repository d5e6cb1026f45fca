//! Programs of a hook that differ only in where they are attached become one, attached to all the places.

use std::collections::HashSet;

use saker_abi::generated::{SAKER_PLAN_COOKIE, saker_plan};
use zerocopy::IntoBytes;

use super::{Lowering, tells_stacks};
use crate::model::{Hook, Source};
use crate::plan::{Attach, HookPlan, HookText};

/// Reasons of joined programs that are told.
const NOTES_MAX: usize = 3;

/// Joins the programs of a hook as far as the kernel can tell the places of one program apart, and says whether each is
/// attached to its places in one step.
pub(super) fn join(cx: &Lowering<'_>, hook: &Hook, plans: Vec<HookPlan>) -> Vec<HookPlan> {
    let mut groups: Vec<Vec<HookPlan>> = Vec::new();
    let joins = plans.len() > 1 && cx.kernel.tells_places();
    for plan in plans {
        match groups.iter_mut().find(|group| joins && group.first().is_some_and(|one| alike(cx, one, &plan)))
        {
            Some(group) => group.push(plan),
            None => groups.push(vec![plan]),
        }
    }
    let mut joined: Vec<HookPlan> = groups.into_iter().filter_map(joined).collect();
    for plan in &mut joined {
        choose(cx, hook, plan);
    }
    joined
}

/// Whether one program can serve both.
fn alike(cx: &Lowering<'_>, one: &HookPlan, other: &HookPlan) -> bool {
    let same_way = match (&one.attach, &other.attach) {
        (
            Attach::Kprobe { function, on_return },
            Attach::Kprobe { function: other, on_return: other_on_return },
        ) => {
            // Of a function that is not the only one of its name the kernel decides, with what it says.
            let ambiguous = cx.kernel.is_ambiguous(function) || cx.kernel.is_ambiguous(other);
            on_return == other_on_return && !ambiguous
        }
        (
            Attach::Uprobe { path, file, places, on_return, .. },
            Attach::Uprobe {
                path: path_of_other, file: file_of_other, places: others, on_return: other, ..
            },
        ) => {
            let single = places.len() == 1 && others.len() == 1;
            single && path == path_of_other && file == file_of_other && on_return == other
        }
        _ => false,
    };
    same_way && same_text(&one.text, &other.text) && bytes(&one.plan) == bytes(&other.plan)
}

fn bytes(plan: &saker_plan) -> &[u8] {
    plan.as_bytes()
}

/// Whether two texts differ in nothing but the function.
fn same_text(one: &HookText, other: &HookText) -> bool {
    !one.function.is_empty()
        && !other.function.is_empty()
        && HookText { function: String::new(), ..one.clone() }
            == HookText { function: String::new(), ..other.clone() }
}

/// One program for all of a group.
fn joined(group: Vec<HookPlan>) -> Option<HookPlan> {
    let count = group.len();
    let mut notes: Vec<String> = Vec::new();
    let mut functions = Vec::new();
    let mut names = Vec::new();
    let mut places = Vec::new();
    let mut first: Option<HookPlan> = None;
    for (number, plan) in (0_u64..).zip(group) {
        match &plan.attach {
            Attach::Kprobe { function, .. } => functions.push((function.clone(), number)),
            Attach::Uprobe { places: own, .. } => {
                places.extend(own.iter().map(|place| crate::plan::UserPlace { function: number, ..*place }));
            }
            _ => {}
        }
        names.push((number, plan.text.function.clone()));
        if !plan.note.is_empty() && !notes.contains(&plan.note) {
            notes.push(plan.note.clone());
        }
        first.get_or_insert(plan);
    }
    let mut plan = first?;
    if count == 1 {
        return Some(plan);
    }
    plan.plan.flags |= SAKER_PLAN_COOKIE;
    plan.text.function = String::new();
    plan.text.functions = names;
    if notes.len() > NOTES_MAX {
        let more = notes.len() - NOTES_MAX;
        notes.truncate(NOTES_MAX);
        notes.push(format!("and {more} more functions"));
    }
    plan.note = notes.join("; ");
    plan.attach = match plan.attach {
        Attach::Kprobe { on_return, .. } => Attach::Kprobes { functions, on_return, at_once: false },
        Attach::Uprobe { path, file, on_return, .. } => {
            Attach::Uprobe { path, file, places, on_return, at_once: false }
        }
        other => other,
    };
    Some(plan)
}

/// Chooses whether a program is attached in one step.
fn choose(cx: &Lowering<'_>, hook: &Hook, plan: &mut HookPlan) {
    let options = &cx.policy.options;
    let stacks = tells_stacks(&plan.plan);
    match &mut plan.attach {
        Attach::Kprobes { functions, on_return, at_once } => {
            let registers = hook.values.iter().any(|value| matches!(value.source, Source::Register(_)));
            // The kernel looks all names up at once, and finds each once.
            let mut seen = HashSet::new();
            let unique = functions.iter().all(|(function, _)| seen.insert(function.as_str()));
            // Newer kernels save but the registers of arguments there, by which they cannot find all callers either.
            *at_once = unique
                && !registers
                && !stacks
                && !options.disable_kprobe_multi
                && !cx.choices.kprobes_one_by_one
                && cx.kernel.hooks_functions_at_once()
                && (!*on_return || cx.kernel.hooks_returns_at_once());
        }
        Attach::Uprobe { places, at_once, .. } if places.len() > 1 => {
            *at_once = !options.disable_uprobe_multi && cx.kernel.hooks_places_at_once();
        }
        _ => {}
    }
}
