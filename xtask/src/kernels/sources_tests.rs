//! Tests of reading apt's sources in both forms.

use super::*;

const STANZAS: &str = "\
Types: deb
# a note in the middle
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb deb-src
URIs: http://mirror.example/debian-security/
Suites:
 bookworm-security
Components: main
 contrib

Types: deb
URIs: http://other.example/vendor
Suites: bookworm
Components: main
Enabled: no
";

#[test]
fn reads_stanzas() {
    let sources = parse_stanzas(STANZAS);
    assert_eq!(sources.len(), 2, "the disabled one is left out");
    assert_eq!(sources[0].uris, ["http://mirror.example/debian"]);
    assert_eq!(sources[0].suites, ["bookworm", "bookworm-updates"]);
    assert_eq!(sources[0].signed_by.as_deref(), Some("/usr/share/keyrings/debian-archive-keyring.gpg"));
    assert_eq!(sources[1].suites, ["bookworm-security"]);
    assert_eq!(sources[1].components, ["main", "contrib"]);
}

#[test]
fn reads_lines() {
    let source =
        parse_line("deb [arch=amd64 signed-by=/k.gpg] http://m.example/debian bookworm main contrib # x");
    let source = source.unwrap();
    assert_eq!(source.uris, ["http://m.example/debian"]);
    assert_eq!(source.suites, ["bookworm"]);
    assert_eq!(source.components, ["main", "contrib"]);
    assert_eq!(source.signed_by.as_deref(), Some("/k.gpg"));
    assert!(parse_line("deb\thttp://m.example/debian bookworm main").is_some());
    for other in ["# deb http://m.example/debian bookworm main", "deb-src http://m.example x main", "", "deb"]
    {
        assert_eq!(parse_line(other), None, "{other}");
    }
}

#[test]
fn prefers_the_archive_to_third_parties() {
    let vendor = parse_line("deb http://a-vendor.example/apt bookworm main").unwrap();
    let mut sources = vec![vendor];
    sources.extend(parse_stanzas(STANZAS));
    let mirrors = Mirrors::choose(&sources);
    assert_eq!(mirrors.main, ["http://mirror.example/debian", "http://a-vendor.example/apt"]);
    assert_eq!(mirrors.for_suite("trixie-security"), ["http://mirror.example/debian-security"]);
    assert_eq!(mirrors.for_suite("sid")[0], "http://mirror.example/debian");
}

#[test]
fn derives_the_security_archive_when_it_is_not_configured() {
    let sources: Vec<Source> = parse_line("deb http://m.example/debian/ bookworm main").into_iter().collect();
    assert_eq!(Mirrors::choose(&sources).security, ["http://m.example/debian-security"]);
}

#[test]
fn passes_over_discs_and_reports_none() {
    let apt = tempfile::tempdir().unwrap();
    fs::write(apt.path().join("sources.list"), "deb cdrom:[Debian]/ bookworm main\n").unwrap();
    let error = Mirrors::of_machine(apt.path()).unwrap_err();
    assert!(error.to_string().contains("--mirror"), "{error}");
}

#[test]
fn reads_every_file_of_the_configuration() {
    let apt = tempfile::tempdir().unwrap();
    let parts = apt.path().join("sources.list.d");
    fs::create_dir(&parts).unwrap();
    fs::write(parts.join("debian.sources"), STANZAS).unwrap();
    fs::write(parts.join("old.list.disabled"), "deb http://off.example/debian bookworm main\n").unwrap();
    let mirrors = Mirrors::of_machine(apt.path()).unwrap();
    assert_eq!(mirrors.main, ["http://mirror.example/debian"]);
}
