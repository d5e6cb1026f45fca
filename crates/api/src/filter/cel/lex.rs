//! From text to tokens.

use super::{Literal, Mistake};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Name(String),
    Literal(Literal),
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

/// The longer ones first.
const SIGNS: [&str; 25] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", ".", ",", "(", ")",
    "[", "]", "{", "}", "=",
];

/// All tokens, each with the byte at which it begins.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Mistake> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.blanks();
        let at = lexer.at;
        let token = lexer.token()?;
        let end = token == Token::End;
        tokens.push((at, token));
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn blanks(&mut self) {
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start().len();
            if !self.rest().starts_with("//") {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn token(&mut self) -> Result<Token, Mistake> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Token::End) };
        if let Some(literal) = self.text_literal()? {
            return Ok(Token::Literal(literal));
        }
        let second_is_digit = rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        if first.is_ascii_digit() || (first == '.' && second_is_digit) {
            return self.number().map(Token::Literal);
        }
        if first == '_' || first.is_ascii_alphabetic() {
            let length = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            self.at += length;
            return Ok(match &rest[..length] {
                "true" => Token::Literal(Literal::Bool(true)),
                "false" => Token::Literal(Literal::Bool(false)),
                "null" => Token::Literal(Literal::Null),
                "in" => Token::Sign("in"),
                name => Token::Name(name.to_owned()),
            });
        }
        let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
        let sign = sign.ok_or_else(|| Mistake::new(self.at, format!("{first:?} has no meaning here")))?;
        self.at += sign.len();
        Ok(Token::Sign(sign))
    }

    fn number(&mut self) -> Result<Literal, Mistake> {
        let at = self.at;
        let wrong = |what: &str| Mistake::new(at, format!("{what} does not fit 64 bits"));
        let rest = self.rest();
        if let Some(hex) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
            let length = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
            self.at += 2 + length;
            let value = u64::from_str_radix(&hex[..length], 16).map_err(|_| wrong("this number"))?;
            return self.whole(value, at);
        }
        let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let mut length = digits(rest);
        let mut fraction = false;
        if rest[length..].starts_with('.') && rest[length + 1..].starts_with(|c: char| c.is_ascii_digit()) {
            length += 1 + digits(&rest[length + 1..]);
            fraction = true;
        }
        if let Some(exponent) = rest[length..].strip_prefix(['e', 'E']) {
            let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            let count = digits(unsigned);
            if count > 0 {
                length += 1 + exponent.len() - unsigned.len() + count;
                fraction = true;
            }
        }
        self.at += length;
        if fraction {
            let value: f64 = rest[..length].parse().map_err(|_| wrong("this number"))?;
            return Ok(Literal::Double(value));
        }
        let value = rest[..length].parse().map_err(|_| wrong("this number"))?;
        self.whole(value, at)
    }

    fn whole(&mut self, value: u64, at: usize) -> Result<Literal, Mistake> {
        if self.rest().starts_with(['u', 'U']) {
            self.at += 1;
            return Ok(Literal::Uint(value));
        }
        // One more than the greatest is the number of the least, whose sign stands before it.
        match i64::try_from(value) {
            Ok(value) => Ok(Literal::Int(value)),
            Err(_) if value == 1 << 63 => Ok(Literal::Int(i64::MIN)),
            Err(_) => Err(Mistake::new(at, "this number does not fit 63 bits; write u behind it")),
        }
    }

    /// `"…"`, `'…'`, three times the quote, with `r` and `b` before it.
    fn text_literal(&mut self) -> Result<Option<Literal>, Mistake> {
        let rest = self.rest();
        let prefix = rest.find(['"', '\'']).filter(|length| *length <= 2).unwrap_or(0);
        let letters = rest[..prefix].to_ascii_lowercase();
        if !matches!(letters.as_str(), "" | "r" | "b" | "rb" | "br")
            || !rest[prefix..].starts_with(['"', '\''])
        {
            return Ok(None);
        }
        let (begin, raw, bytes) = (self.at, letters.contains('r'), letters.contains('b'));
        let quoted = &rest[prefix..];
        let quote = [r#"""""#, "'''", "\"", "'"].into_iter().find(|quote| quoted.starts_with(quote));
        let quote = quote.unwrap_or("\"");
        self.at += prefix + quote.len();
        let mut out = Vec::new();
        loop {
            let rest = self.rest();
            if rest.starts_with(quote) {
                self.at += quote.len();
                break;
            }
            let Some(next) = rest.chars().next().filter(|next| quote.len() == 3 || *next != '\n') else {
                return Err(Mistake::new(begin, "this text has no end"));
            };
            if next == '\\' && !raw {
                self.escape(bytes, &mut out)?;
            } else {
                self.at += next.len_utf8();
                out.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        Ok(Some(if bytes {
            Literal::Bytes(out)
        } else {
            Literal::Text(String::from_utf8(out).map_err(|_| Mistake::new(begin, "this text is not UTF-8"))?)
        }))
    }

    fn escape(&mut self, bytes: bool, out: &mut Vec<u8>) -> Result<(), Mistake> {
        let at = self.at;
        let wrong = || Mistake::new(at, "there is no such escape");
        let rest = self.rest();
        let letter = rest.chars().nth(1).ok_or_else(wrong)?;
        let (skip, length, radix) = match letter {
            'x' | 'X' => (2, 2, 16),
            'u' if !bytes => (2, 4, 16),
            'U' if !bytes => (2, 8, 16),
            '0'..='3' => (1, 3, 8),
            _ => {
                let byte = match letter {
                    'a' => 7,
                    'b' => 8,
                    'f' => 12,
                    'n' => b'\n',
                    'r' => b'\r',
                    't' => b'\t',
                    'v' => 11,
                    '\\' | '?' | '"' | '\'' | '`' => letter as u8,
                    _ => return Err(wrong()),
                };
                out.push(byte);
                self.at += 2;
                return Ok(());
            }
        };
        let digits = rest.get(skip..skip + length).ok_or_else(wrong)?;
        let number = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = number.then(|| u32::from_str_radix(digits, radix).ok()).flatten().ok_or_else(wrong)?;
        self.at += skip + length;
        if bytes {
            out.push(u8::try_from(number).map_err(|_| wrong())?);
        } else {
            let letter = char::from_u32(number).ok_or_else(wrong)?;
            out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        }
        Ok(())
    }
}
