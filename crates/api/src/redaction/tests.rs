use super::*;
use crate::filter::parse_redaction_filters;

fn redaction(text: &str) -> Redaction {
    Redaction::compile(&parse_redaction_filters(text).unwrap()).unwrap()
}

fn process(binary: &str, arguments: &str) -> Process {
    Process { binary: binary.into(), arguments: arguments.into(), ..Process::default() }
}

fn hidden(filters: &str, arguments: &str) -> String {
    let mut process = process("/usr/bin/tool", arguments);
    redaction(filters).apply(&mut process);
    process.arguments.into_string()
}

#[test]
fn what_groups_match_is_hidden_everywhere() {
    for (filters, arguments, expected) in [
        (r#"{"redact":["--password[= ](\\S+)"]}"#, "-u ada --password=sesame x", "-u ada --password=***** x"),
        (
            r#"{"redact":["--password[= ](\\S+)"]}"#,
            "--password a --password bb",
            "--password ***** --password *****",
        ),
        (r#"{"redact":["(\\d+)-(\\d+)"]}"#, "12-34 x 5-6", "*****-***** x *****-*****"),
        (r#"{"redact":["(a(b)c)"]}"#, "xabcx", "x*****x"),
        (r#"{"redact":["(x)|(y)"]}"#, "axbyc", "a*****b*****c"),
        (r#"{"redact":["(z*)"]}"#, "abc", "abc"),
        (r#"{"redact":["key=(\\w+)","(\\*+)"]}"#, "key=abc", "key=*****"),
        // Each filter works on what the former left.
        (r#"{"redact":["a(b)"]} {"redact":["a\\*+(c)"]}"#, "abc", "a**********"),
        (r#"{"redact":["(é+)"]}"#, "naïve éé", "naïve *****"),
        ("", "--password=sesame", "--password=sesame"),
    ] {
        assert_eq!(hidden(filters, arguments), expected, "{filters} on {arguments}");
    }
}

#[test]
fn only_binaries_that_match_are_concerned() {
    let filter = redaction(r#"{"redact":["(s\\w+)"],"binary_regex":["/curl$","/wget$"]}"#);
    for (binary, expected) in [("/usr/bin/curl", "*****"), ("/bin/wget", "*****"), ("/bin/curlx", "secret")] {
        let mut process = process(binary, "secret");
        filter.apply(&mut process);
        assert_eq!(&*process.arguments, expected, "{binary}");
    }
}

#[test]
fn environment_and_exact_arguments_are_covered() {
    let filter = redaction(r#"{"redact":["(?:TOKEN=|--token )(\\S+)"]}"#);
    let mut process = process("/bin/x", "--token \"a b\"");
    process.extra.argv = ["x", "--token", "a b"].map(Box::from).into();
    process.environment = [("TOKEN", "sesame"), ("HOME", "/root"), ("MY_TOKEN", "x=y")]
        .map(|(n, v)| (n.into(), v.into()))
        .into();
    filter.apply(&mut process);
    assert_eq!(&*process.arguments, "--token ***** b\"");
    assert!(process.extra.argv.is_empty(), "an expression may reach over several arguments");
    let shown: Vec<_> = process.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(shown, ["TOKEN=*****", "HOME=/root", "MY_TOKEN=*****"]);

    let mut process = self::process("/bin/x", "-- nothing");
    process.extra.argv = ["x", "--token hidden"].map(Box::from).into();
    filter.apply(&mut process);
    assert_eq!(process.extra.argv, ["x", "--token *****"].map(Box::from));
}

#[test]
fn what_hides_nothing_is_refused() {
    for (text, expected) in [
        (r#"{"redact":["ok()","x"]}"#, r#"redaction_filters[0].redact[1]: bad regular expression "x""#),
        (
            r#"{"redact":["(a"]}"#,
            r#"redaction_filters[0].redact[0]: bad regular expression "(a" at byte 0: unclosed"#,
        ),
        (r#"{}"#, "redaction_filters[0]: it has no expression in redact"),
        (r#"{"redact":["(a)"],"binary_regex":["["]}"#, "redaction_filters[0].binary_regex[0]: bad regular"),
        (r#"{"redact":["(a)"],"match":[{}]}"#, "match is deprecated"),
    ] {
        let error = Redaction::compile(&parse_redaction_filters(text).unwrap()).unwrap_err().to_string();
        assert!(error.contains(expected), "{text} gave {error}");
    }
    assert!(parse_redaction_filters(r#"{"redacted":["(a)"]}"#).is_err());
}
