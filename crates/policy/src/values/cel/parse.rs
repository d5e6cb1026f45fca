//! The parser of expressions, with the checks of types.

use super::{Comparison, Condition, Number, NumberType, Operation};
use crate::diagnostic::Problem;

/// Levels of nesting of an expression.
pub const MAX_CEL_DEPTH: usize = 32;

/// Reads an expression. `types` are the types of the captured values, none for what is no integer.
///
/// # Errors
/// When it is no expression of the supported part, or its types do not fit.
pub fn parse(text: &str, types: &[Option<NumberType>]) -> Result<Condition, Problem> {
    let mut parser = Parser { text, at: 0, depth: 0, types };
    let value = parser.any()?;
    parser.blank();
    if parser.at < text.len() {
        return Err(parser.wrong("expected an operator"));
    }
    match value {
        Value::Condition(condition) => Ok(condition),
        Value::Number(_) => Err(Problem::hint(
            "the expression gives a number, not true or false",
            "compare it with something, such as `== int32(1)`",
        )),
    }
}

enum Value {
    Condition(Condition),
    Number(Number),
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    types: &'a [Option<NumberType>],
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn blank(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn take(&mut self, word: &str) -> bool {
        self.blank();
        let found = self.rest().starts_with(word);
        self.at += if found { word.len() } else { 0 };
        found
    }

    fn wrong(&self, message: impl std::fmt::Display) -> Problem {
        let column = self.text.get(..self.at).unwrap_or("").chars().count() + 1;
        Problem::new(format!("character {column} of the expression: {message}"))
    }

    fn enter(&mut self) -> Result<(), Problem> {
        self.depth += 1;
        if self.depth > MAX_CEL_DEPTH {
            return Err(self.wrong(format!("nested more than {MAX_CEL_DEPTH} levels deep")));
        }
        Ok(())
    }

    fn any(&mut self) -> Result<Value, Problem> {
        self.enter()?;
        let mut left = self.all()?;
        let mut terms = 1;
        while self.take("||") {
            terms += 1;
            self.bound(terms)?;
            let right = self.all()?;
            let (one, two) = self.conditions(left, right, "||")?;
            left = Value::Condition(Condition::Any(Box::new(one), Box::new(two)));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn all(&mut self) -> Result<Value, Problem> {
        let mut left = self.compare()?;
        let mut terms = 1;
        while self.take("&&") {
            terms += 1;
            self.bound(terms)?;
            let right = self.compare()?;
            let (one, two) = self.conditions(left, right, "&&")?;
            left = Value::Condition(Condition::All(Box::new(one), Box::new(two)));
        }
        Ok(left)
    }

    /// A chain of operators is a tree as deep as it is long.
    fn bound(&self, terms: usize) -> Result<(), Problem> {
        if terms > 8 * MAX_CEL_DEPTH {
            return Err(self.wrong(format!("more than {} terms in a row", 8 * MAX_CEL_DEPTH)));
        }
        Ok(())
    }

    fn conditions(
        &self,
        left: Value,
        right: Value,
        operator: &str,
    ) -> Result<(Condition, Condition), Problem> {
        match (left, right) {
            (Value::Condition(left), Value::Condition(right)) => Ok((left, right)),
            _ => Err(self.wrong(format!("both sides of `{operator}` must be conditions"))),
        }
    }

    fn numbers(&self, left: Value, right: Value, operator: &str) -> Result<(Number, Number), Problem> {
        let (Value::Number(left), Value::Number(right)) = (left, right) else {
            return Err(self.wrong(format!("both sides of `{operator}` must be numbers")));
        };
        let (one, two) = (left.ty(), right.ty());
        if one != two {
            let problem = self.wrong(format!("{} {operator} {}: the types differ", one.name(), two.name()));
            let hint = format!("convert one side: `{}(…)`; a literal is int64, with `u` uint64", one.name());
            return Err(Problem::hint(problem.message, hint));
        }
        Ok((left, right))
    }

    fn compare(&mut self) -> Result<Value, Problem> {
        let left = self.sum()?;
        let operators = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        for (text, comparison) in operators {
            if self.take(text) {
                let right = self.sum()?;
                let (left, right) = self.numbers(left, right, text)?;
                return Ok(Value::Condition(Condition::Compare { comparison, left, right }));
            }
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<Value, Problem> {
        let mut left = self.unary()?;
        let mut terms = 1;
        loop {
            let (text, operation) = if self.take("+") {
                ("+", Operation::Add)
            } else if self.take("-") {
                ("-", Operation::Subtract)
            } else {
                return Ok(left);
            };
            terms += 1;
            self.bound(terms)?;
            let right = self.unary()?;
            let (one, two) = self.numbers(left, right, text)?;
            left = Value::Number(operation_of(operation, one, two));
        }
    }

    fn unary(&mut self) -> Result<Value, Problem> {
        self.blank();
        if self.rest().starts_with('!') && !self.rest().starts_with("!=") {
            self.at += 1;
            self.enter()?;
            let Value::Condition(inner) = self.unary()? else {
                return Err(self.wrong("`!` needs a condition; `not()` turns bits round"));
            };
            self.depth -= 1;
            return Ok(Value::Condition(Condition::Not(Box::new(inner))));
        }
        if self.take("-") {
            return self.literal(true);
        }
        if self.rest().starts_with(|char: char| char.is_ascii_digit()) {
            return self.literal(false);
        }
        if self.take("(") {
            let inner = self.any()?;
            return if self.take(")") { Ok(inner) } else { Err(self.wrong("expected `)`")) };
        }
        self.word()
    }

    fn literal(&mut self, negative: bool) -> Result<Value, Problem> {
        self.blank();
        let length =
            self.rest().find(|char: char| !char.is_ascii_alphanumeric()).unwrap_or(self.rest().len());
        let written = self.rest().get(..length).unwrap_or("").to_owned();
        let (digits, unsigned) = match written.strip_suffix(['u', 'U']) {
            Some(digits) => (digits, true),
            None => (written.as_str(), false),
        };
        let octal = digits.len() > 1 && digits.starts_with('0') && !digits[1..].starts_with(['x', 'X']);
        let value = crate::values::number(digits).ok().filter(|_| !octal);
        let value = value.map(|value| if negative { -value } else { value });
        let ty = if unsigned { NumberType::U64 } else { NumberType::I64 };
        match value {
            Some(value) if ty.wrap(value) == value => {
                self.at += length;
                Ok(Value::Number(Number::Literal { ty, value }))
            }
            Some(value) => Err(self.wrong(format!("{value} does not fit {}", ty.name()))),
            None => Err(self.wrong("expected a number, an argument such as `arg0`, or `(`")),
        }
    }

    fn word(&mut self) -> Result<Value, Problem> {
        let other = |char: char| !(char.is_ascii_alphanumeric() || char == '_');
        let length = self.rest().find(other).unwrap_or(self.rest().len());
        let word = self.rest().get(..length).unwrap_or("").to_owned();
        let cast = match word.as_str() {
            "int32" => Some(NumberType::I32),
            "uint32" => Some(NumberType::U32),
            "int64" => Some(NumberType::I64),
            "uint64" => Some(NumberType::U64),
            _ => None,
        };
        if let Some(digits) = word.strip_prefix("arg")
            && cast.is_none()
        {
            let argument = self.argument(digits)?;
            self.at += length;
            return Ok(Value::Number(argument));
        }
        let operation = match word.as_str() {
            "and" => Some(Operation::And),
            "or" => Some(Operation::Or),
            "xor" => Some(Operation::Xor),
            "not" => None,
            _ if cast.is_some() => None,
            _ => {
                let problem =
                    self.wrong(format!("`{}` is not known here", crate::yaml::shorten(self.rest())));
                let hint = "there are arg0, arg1, …, int32(), uint32(), int64(), uint64(), and(), or(), xor(), not()";
                return Err(Problem::hint(problem.message, hint));
            }
        };
        self.at += length;
        self.enter()?;
        let arguments = self.call(&word, if operation.is_some() { 2 } else { 1 })?;
        self.depth -= 1;
        let mut arguments = arguments.into_iter();
        let (first, second) = (arguments.next(), arguments.next());
        match (first, second, operation, cast) {
            (Some(left), Some(right), Some(operation), _) => {
                let (left, right) = self.numbers(Value::Number(left), Value::Number(right), &word)?;
                Ok(Value::Number(operation_of(operation, left, right)))
            }
            (Some(value), _, _, Some(ty)) => Ok(Value::Number(Number::Cast { ty, value: Box::new(value) })),
            (Some(value), ..) => Ok(Value::Number(Number::Not { ty: value.ty(), value: Box::new(value) })),
            _ => Err(self.wrong("expected a number")),
        }
    }

    fn argument(&self, digits: &str) -> Result<Number, Problem> {
        let position: Option<usize> = digits.parse().ok().filter(|_| digits.len() < 4);
        match position.and_then(|position| Some((position, self.types.get(position)?))) {
            Some((position, Some(ty))) => Ok(Number::Argument { ty: *ty, position }),
            Some((position, None)) => Err(self.wrong(format!("argument {position} is not an integer"))),
            None => Err(self.wrong(format!("`arg{digits}`: {} arguments are captured", self.types.len()))),
        }
    }

    fn call(&mut self, word: &str, count: usize) -> Result<Vec<Number>, Problem> {
        if !self.take("(") {
            return Err(self.wrong(format!("expected `(` behind `{word}`")));
        }
        let mut arguments = Vec::new();
        loop {
            match self.any()? {
                Value::Number(number) => arguments.push(number),
                Value::Condition(_) => return Err(self.wrong(format!("`{word}` takes numbers"))),
            }
            if !self.take(",") {
                break;
            }
        }
        if !self.take(")") {
            return Err(self.wrong("expected `)`"));
        }
        if arguments.len() != count {
            return Err(self.wrong(format!("`{word}` takes {count}, not {}", arguments.len())));
        }
        Ok(arguments)
    }
}

fn operation_of(operation: Operation, left: Number, right: Number) -> Number {
    let ty = left.ty();
    Number::Operation { ty, operation, left: Box::new(left), right: Box::new(right) }
}

#[cfg(test)]
#[path = "cel_tests.rs"]
mod tests;
