//! Turns a command into the shell script that the guest runs.

/// One argument is a line for the shell; several are a program and its arguments, kept as they are.
pub(crate) fn script(command: &[String]) -> String {
    match command {
        [line] => format!("{line}\n"),
        words => {
            let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
            format!("{}\n", words.join(" "))
        }
    }
}

/// Quotes one word for a POSIX shell.
pub(crate) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn one_argument_is_a_shell_line() {
        assert_eq!(script(&["echo $HOME | wc".into()]), "echo $HOME | wc\n");
    }

    #[test]
    fn several_arguments_survive_the_shell() {
        let awkward = ["a b", "it's", "$HOME `id`", "", "line\nbreak", "\\", "\"q\"", "*"];
        let mut words = vec!["printf".to_owned(), "%s\\0".to_owned()];
        words.extend(awkward.iter().map(|&word| word.to_owned()));
        let output = Command::new("sh").arg("-c").arg(script(&words)).output().unwrap();
        let expected: String = awkward.iter().map(|word| format!("{word}\0")).collect();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    }
}
