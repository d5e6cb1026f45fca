use proptest::prelude::*;

use super::*;

/// As Linux 5.10 and 6.12 write them.
const OPENAT: &str = "name: sys_enter_openat\nID: 626\nformat:\n\
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n\
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n\
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;\n\
\tfield:int dfd;\toffset:16;\tsize:8;\tsigned:0;\n\
\tfield:const char * filename;\toffset:24;\tsize:8;\tsigned:0;\n\
\tfield:int flags;\toffset:32;\tsize:8;\tsigned:0;\n\
\tfield:umode_t mode;\toffset:40;\tsize:8;\tsigned:0;\n\n\
print fmt: \"field:int x; offset:0; size:4;\", REC->dfd\n";

fn field(text: &str) -> Field {
    Field::parse(text).unwrap_or_else(|reason| panic!("{text}: {reason}"))
}

#[test]
fn a_format_is_read() {
    let format = Format::parse(OPENAT).expect("it is one");
    assert_eq!((format.name.as_str(), format.id, format.fields.len()), ("sys_enter_openat", 626, 9));
    let dfd = &format.fields[5];
    assert_eq!((dfd.ty.as_str(), dfd.name.as_str(), dfd.offset, dfd.size), ("int", "dfd", 16, 8));
    assert_eq!(
        (dfd.kind, dfd.number(), dfd.automatic()),
        (FieldKind::Integer, (4, true), Some(abi::SAKER_TYPE_INT))
    );
    let name = &format.fields[6];
    assert_eq!((name.kind, name.automatic()), (FieldKind::Pointer, Some(abi::SAKER_TYPE_STRING)));
    assert_eq!(format.fields[8].automatic(), Some(abi::SAKER_TYPE_U16));
}

#[test]
fn kinds_of_fields() {
    let located = |relative, text| FieldKind::Located { relative, text };
    let cases = [
        ("__data_loc char[] name;\toffset:8;\tsize:4;\tsigned:0;", "name", located(false, true)),
        ("__rel_loc char[] name;\toffset:8;\tsize:4;\tsigned:0;", "name", located(true, true)),
        ("__data_loc unsigned char[] buf;\toffset:8;\tsize:4;\tsigned:0;", "buf", located(false, false)),
        ("char comm[16];\toffset:8;\tsize:16;\tsigned:0;", "comm", FieldKind::Text),
        ("const char comm[TASK_COMM_LEN];\toffset:8;\tsize:16;\tsigned:0;", "comm", FieldKind::Text),
        ("unsigned long args[6];\toffset:16;\tsize:48;\tsigned:0;", "args", FieldKind::Bytes),
        ("struct in6_addr addr;\toffset:16;\tsize:8;\tsigned:0;", "addr", FieldKind::Bytes),
        ("union { int a; long b; } both;\toffset:16;\tsize:8;\tsigned:0;", "both", FieldKind::Bytes),
        ("const void * skaddr;\toffset:8;\tsize:8;\tsigned:0;", "skaddr", FieldKind::Pointer),
        ("bool success;\toffset:8;\tsize:1;\tsigned:0;", "success", FieldKind::Integer),
    ];
    for (text, name, kind) in cases {
        let field = field(text);
        assert_eq!((field.name.as_str(), field.kind), (name, kind), "{text}");
    }
}

#[test]
fn values_of_fields() {
    let signed =
        field("int x;\toffset:12;\tsize:4;\tsigned:1;").value(abi::SAKER_TYPE_S64).expect("a number");
    assert_eq!((signed.step[0].offset, signed.step[0].load), (12, 4));
    assert_eq!(u32::from(signed.width), 4 | abi::SAKER_WIDTH_SIGNED);
    let text = field("char comm[16];\toffset:8;\tsize:16;\tsigned:0;");
    let plan = text.value(abi::SAKER_TYPE_STRING).expect("text");
    assert_eq!((plan.step[0].load, plan.max), (0, 17));
    let why = text.value(abi::SAKER_TYPE_FILE).expect_err("not a pointer");
    assert_eq!(why, "the field `char comm` is text of 16 bytes");
    let array = field("unsigned long args[6];\toffset:16;\tsize:48;\tsigned:0;");
    assert_eq!(array.value(abi::SAKER_TYPE_CONST_BUF).map(|plan| plan.max), Ok(48));
    assert!(array.value(abi::SAKER_TYPE_U64).is_err());
    let mut buffer = field("const char * buf;\toffset:24;\tsize:8;\tsigned:0;");
    buffer.name = "buf".into();
    let mut plan = buffer.value(abi::SAKER_TYPE_CHAR_BUF).expect("a buffer");
    let size = field("size_t count;\toffset:32;\tsize:8;\tsigned:0;");
    size.size_of(&mut plan).expect("a size");
    assert_eq!((u32::from(plan.size_index), plan.step[10].offset, plan.step[10].load), (254, 32, 8));
    assert!(array.size_of(&mut plan).is_err());
    let set = field("const void * set;\toffset:8;\tsize:8;\tsigned:0;");
    assert_eq!(set.value(abi::SAKER_TYPE_KERNEL_CAP).map(|plan| plan.steps), Ok(2));
}

#[test]
fn what_is_not_a_format_is_refused() {
    let hidden = field("int common_pid;\toffset:4;\tsize:4;\tsigned:1;").value(abi::SAKER_TYPE_INT);
    assert_eq!(hidden.expect_err("not shown"), "the kernel shows the field `common_pid` to no program");
    let cases = [
        ("", "no `name:`"),
        ("name: x\n", "no `ID:`"),
        ("name: x\nID: -1\n", "line 2"),
        ("name: x\nID: 1\nfield:int a;\tsize:4;\n", "no `offset:`"),
        ("name: x\nID: 1\nfield:int a;\toffset:8190;\tsize:4;\tsigned:1;\n", "outside of the longest record"),
        ("name: x\nID: 1\nfield:;\toffset:0;\tsize:4;\tsigned:1;\n", "no name"),
        ("name: x\nID: 1\nfield:__data_loc char[] a;\toffset:0;\tsize:8;\tsigned:1;\n", "four bytes"),
    ];
    for (text, wanted) in cases {
        let error = Format::parse(text).expect_err(text).to_string();
        assert!(error.contains(wanted), "{text}: {error}");
    }
    let long = "x".repeat(MAX_FORMAT + 1);
    assert_eq!(Format::parse(&long), Err(FormatError::Long(long.len())));
}

proptest! {
    #[test]
    fn any_text_is_a_format_or_an_error(text in "(name: [a-z]{1,3}\n|ID: [0-9]{1,9}\n|[ \t]*field:[a-z_ *\\[\\]0-9;]{0,20};\t(offset|size|signed):[0-9]{0,5};\t(size|offset):[0-9]{0,5};\n|.{0,9}\n){0,8}") {
        if let Ok(format) = Format::parse(&text) {
            for field in &format.fields {
                prop_assert!(field.offset + field.size <= MAX_RECORD);
                let automatic = field.automatic().map(|ty| field.value(ty));
                // An array may be longer than what is captured.
                let beyond = field.offset < COMMON || field.size > abi::SAKER_BUFFER_MAX;
                prop_assert!(beyond || automatic.is_none_or(|plan| plan.is_ok()));
                for ty in 0..=45 {
                    let Ok(plan) = field.value(ty) else { continue };
                    prop_assert!(u32::from(plan.max) <= abi::SAKER_STRING_MAX);
                }
            }
        }
    }
}
