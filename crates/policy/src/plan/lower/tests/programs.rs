//! Hooks in programs that are made up.

use saker_abi::generated::*;

use super::{Fake, assert_refused, hook, planned};
use crate::model::DigestAlgorithm;
use crate::plan::{Attach, FileMark, UserPlace};
use crate::programs::Program;
use crate::registers::Machine;
use crate::usdt::Site;

/// A program with functions `f` and `g`, and probes.
struct Made {
    go: bool,
}

/// The program at a path.
pub(super) fn program(path: &str) -> Option<Box<dyn Program>> {
    match path {
        "/bin/c" => Some(Box::new(Made { go: false })),
        "/bin/go" => Some(Box::new(Made { go: true })),
        _ => None,
    }
}

impl Program for Made {
    fn mark(&self) -> FileMark {
        FileMark { inode: 7, ..FileMark::default() }
    }

    fn machine(&self) -> Machine {
        Machine::X86
    }

    fn is_go(&self) -> bool {
        self.go
    }

    fn digest(&self, algorithm: DigestAlgorithm) -> Result<Vec<u8>, String> {
        match algorithm {
            DigestAlgorithm::Sha1 => Ok(vec![0xab; 20]),
            DigestAlgorithm::BuildId => Ok(vec![0, 1]),
            _ => Err("it cannot be read".into()),
        }
    }

    fn symbol(&self, name: &str, behind: u64) -> Result<u64, String> {
        match name {
            "f" => Ok(0x1000 + behind),
            "g" => Ok(0x2000 + behind),
            _ => Err(format!("no function `{name}`")),
        }
    }

    fn address(&self, address: u64) -> Result<u64, String> {
        address.checked_sub(0x40_0000).ok_or_else(|| "no code".to_owned())
    }

    fn offset(&self, offset: u64) -> Result<u64, String> {
        Ok(offset)
    }

    fn begins_function(&self, offset: u64) -> Result<Option<bool>, String> {
        Ok((offset != 0x3000).then_some(offset.is_multiple_of(0x1000)))
    }

    fn way_back(&self, offset: u64) -> Result<i64, String> {
        if offset == 0x2000 { Err("no instruction returns".into()) } else { Ok(0x77) }
    }

    fn distance(&self, from: u64, to: u64) -> Result<i64, String> {
        Ok(to.wrapping_sub(from).cast_signed())
    }

    fn probes(&self, provider: &str, name: &str) -> Result<Vec<Site>, String> {
        let site = |offset, arguments: &str| Site {
            place: UserPlace { offset, semaphore: 0x50, function: offset },
            arguments: arguments.to_owned(),
        };
        if (provider, name) != ("p", "n") {
            return Err(format!("no probe `{provider}:{name}`"));
        }
        Ok(vec![
            site(1, "-4@%edi 8@%rsi 8f@%xmm0"),
            site(2, "-4@$5 8@%rsi 8@%rdx"),
            site(3, "-4@%edi 8@%rsi 8f@%xmm0"),
        ])
    }
}

fn policy(section: &str, fields: &str) -> String {
    let fields: String = fields.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: cilium.io/v1alpha1\nkind: TracingPolicy\nmetadata: {{name: x}}\nspec:\n  {section}:\n  -\n{fields}"
    )
}

fn uprobe(fields: &str) -> String {
    policy("uprobes", fields)
}

#[test]
fn each_place_is_a_hook() {
    let text = uprobe(
        "path: /bin/c\nsymbols: [f, g+0x10]\nrefCtrOffsets: [80, 0]\nargs: [{index: 1, type: string}]\n\
         data: [{index: 0, type: uint32, source: pt_regs, resolve: edx}]",
    );
    let plan = planned(&text, &Fake::with(false, false, false));
    let places: Vec<Attach> = plan.hooks.iter().map(|hook| hook.attach.clone()).collect();
    let place = |offset, semaphore| Attach::Uprobe {
        path: "/bin/c".into(),
        file: FileMark { inode: 7, ..FileMark::default() },
        places: vec![UserPlace { offset, semaphore, function: 0 }],
        on_return: false,
        at_once: false,
    };
    assert_eq!(places, [place(0x1000, 80), place(0x2010, 0)]);
    let first = &plan.hooks[0];
    assert_eq!((first.text.function.as_str(), first.text.path.as_str()), ("f", "/bin/c"));
    assert_eq!((first.text.offset, first.text.ref_ctr_offset), (0, 80));
    assert_eq!(plan.hooks[1].text.function, "g+0x10");
    assert_eq!(u32::from(first.plan.family), SAKER_FAMILY_UPROBE);
    let values = &first.plan.value;
    assert_eq!((u32::from(values[0].source), values[0].index), (SAKER_SOURCE_ARGUMENT, 1));
    assert_eq!(
        (u32::from(values[1].source), values[1].index, values[1].width),
        (SAKER_SOURCE_REGISTER, 12, 4)
    );
}

#[test]
fn addresses_offsets_and_results() {
    let at = |field: &str| {
        let returns = "return: true\nreturnArg: {index: 0, type: int}";
        hook(&uprobe(&format!("path: /bin/c\n{field}\n{returns}")), &Fake::default())
    };
    let found = at("addrs: [0x401000]");
    let Attach::Uprobe { places, on_return: true, .. } = &found.attach else { panic!("{:?}", found.attach) };
    assert_eq!((places[0].offset, found.text.offset, found.plan.arguments), (0x1000, 0x1000, 6));
    assert_eq!(found.plan.flags & SAKER_PLAN_RETURN, SAKER_PLAN_RETURN);
    assert_eq!(u32::from(found.plan.result.source), SAKER_SOURCE_RETURN);
    // A file that does not tell its functions is taken at its word.
    assert_eq!(at("offsets: [0x3000]").text.offset, 0x3000);
}

#[test]
fn places_of_a_probe_whose_arguments_stand_alike_are_one_hook() {
    let text = policy(
        "usdts",
        "path: /bin/c\nprovider: p\nname: n\nargs: [{index: 0, type: int}, {index: 1, type: string}]",
    );
    let plan = planned(&text, &Fake::with(false, false, false));
    let counts: Vec<usize> = plan
        .hooks
        .iter()
        .map(|hook| match &hook.attach {
            Attach::Uprobe { places, on_return: false, .. } => places.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(counts, [2, 1]);
    let sources: Vec<u32> = plan.hooks.iter().map(|hook| hook.plan.value[0].source.into()).collect();
    assert_eq!(sources, [SAKER_SOURCE_REGISTER, SAKER_SOURCE_CONSTANT]);
    let text = &plan.hooks[0].text;
    assert_eq!((text.subsystem.as_str(), text.event.as_str(), text.path.as_str()), ("p", "n", "/bin/c"));
    assert_eq!(u32::from(plan.hooks[0].plan.family), SAKER_FAMILY_USDT);
}

#[test]
fn what_cannot_be_had_of_programs() {
    let returns = "return: true\nreturnArg: {index: 0, type: int}";
    for (fields, words) in [
        ("path: /bin/none\nsymbols: [f]".to_owned(), "cannot open /bin/none"),
        ("path: /bin/c\nsymbols: [f, h]".to_owned(), "spec.uprobes[0].symbols[1]: no function `h`"),
        (format!("path: /bin/c\nsymbols: [f+0x4]\n{returns}"), "no function begins here"),
        (format!("path: /bin/go\nsymbols: [f]\n{returns}"), "Go moves stacks"),
        ("path: /bin/go\nsymbols: [f]\nargs: [{index: 0, type: int}]".to_owned(), "functions of Go"),
        ("path: /bin/c\nsymbols: [f]\nargs: [{index: 0, type: file}]".to_owned(), "are in programs"),
        (
            "path: /bin/c\nsymbols: [f]\nargs: [{index: 0, type: int, btfType: x, resolve: y}]\nbtfPath: /b"
                .to_owned(),
            "`resolve: y` leads nowhere in struct x of /b: it cannot be read",
        ),
        (
            "path: /bin/c\nsymbols: [f]\nargs: [{index: 0, type: int, btfType: file, resolve: f_pos}]"
                .to_owned(),
            "[name the file with its types (BTF) by `btfPath` of the hook]",
        ),
        (
            "path: /bin/c\nsymbols: [f]\nbtfPath: /bin/c.btf\nargs: [{index: 0, type: int, resolve: f_pos}]"
                .to_owned(),
            "which structure of the program",
        ),
        (
            // An object of the kernel is not in a program.
            "path: /bin/c\nsymbols: [f]\nbtfPath: /bin/c.btf\n\
             args: [{index: 0, type: cred, btfType: file, resolve: f_cred}]"
                .to_owned(),
            "are in programs",
        ),
        (
            "path: /bin/c\nsymbols: [f]\nbtfPath: /bin/c.btf\n\
             args: [{index: 0, type: string, btfType: file, resolve: f_pos}]"
                .to_owned(),
            "the type is `string`, but this kernel has an integer of 8 bytes there",
        ),
        (
            "path: /bin/c\nsymbols: [f]\ndata: [{index: 0, type: int, source: pt_regs, resolve: rzx}]"
                .to_owned(),
            "no register `rzx`",
        ),
    ] {
        assert_refused(&uprobe(&fields), &Fake::default(), &[words]);
    }
    for (fields, words) in [
        ("provider: p\nname: m", "no probe `p:m`"),
        ("provider: p\nname: n\nargs: [{index: 2, type: int64}]", "floating-point"),
        ("provider: p\nname: n\nargs: [{index: 3, type: int64}]", "has no argument 3"),
    ] {
        assert_refused(&policy("usdts", &format!("path: /bin/c\n{fields}")), &Fake::default(), &[words]);
    }
}

#[test]
fn pointers_of_programs_are_followed() {
    let value = "btfType: file, resolve: f_inode.i_mode, type: uint16";
    let text =
        uprobe(&format!("path: /bin/c\nsymbols: [f]\nbtfPath: /bin/c.btf\nargs: [{{index: 1, {value}}}]"));
    let found = hook(&text, &Fake::default()).plan.value[0];
    assert_eq!((u32::from(found.source), found.index, found.steps), (SAKER_SOURCE_ARGUMENT, 1, 2));
    let steps: Vec<(u32, u32)> = found.step[..2].iter().map(|step| (step.offset, step.load)).collect();
    assert_eq!(steps, [(32, 8), (0, 2)]);
    assert_eq!((u32::from(found.type_), found.width), (SAKER_TYPE_U16, 0));
    // Of a declared probe from wherever its argument is.
    let probe = |index: u32| {
        policy(
            "usdts",
            &format!(
                "path: /bin/c\nprovider: p\nname: n\nbtfPath: /bin/c.btf\nargs: [{{index: {index}, {value}}}]"
            ),
        )
    };
    let found = planned(&probe(1), &Fake::default()).hooks[0].plan.value[0];
    assert_eq!((u32::from(found.source), found.steps), (SAKER_SOURCE_REGISTER, 2));
    assert_refused(&probe(0), &Fake::default(), &["argument 0 of the probe has 4 bytes and is no address"]);
}

#[test]
fn digests_of_files() {
    let with = |digests: &str, further: &str| {
        uprobe(&format!("path: /bin/c\nsymbols: [f]\nbinaryDigests: [{digests}]\n{further}"))
    };
    let (sha1, sha256) = (format!("'sha1:{}'", "AB".repeat(20)), format!("'sha256:{}'", "00".repeat(32)));
    for digests in ["build-id:0001", &sha1, &format!("{sha256}, build-id:0002, build-id:0001")] {
        assert_eq!(planned(&with(digests, ""), &Fake::default()).hooks.len(), 1, "{digests}");
    }
    let wrong = with(&format!("build-id:0000, build-id:000100, {sha256}"), "");
    let said = "spec.uprobes[0].binaryDigests: /bin/c has none of these digests: it has build-id:0001; it cannot be read";
    assert_refused(&wrong, &Fake::default(), &[said]);
    let left_out =
        planned(&with("build-id:0000", "ignore: {digestVerificationFailure: true}"), &Fake::default());
    assert_eq!((left_out.hooks.len(), left_out.warnings.len()), (0, 1));
    assert!(left_out.warnings[0].message.ends_with("it has build-id:0001; the hook is left out"));
}
