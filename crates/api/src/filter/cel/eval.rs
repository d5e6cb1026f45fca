//! The value of an expression at an event.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::rc::Rc;

use prost_reflect::{DynamicMessage, ReflectMessage};

use super::value::Value;
use super::{Kind, Literal, MAX_STEPS, Macro, Node, Operator, Word, functions};

/// Why an expression has no value at an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("the event is of another kind than the part that decides")]
    OtherKind,
    #[error("a value of type {0} is none for this operation")]
    Type(&'static str),
    #[error("a number does not fit")]
    Range,
    #[error("a division by zero")]
    Zero,
    #[error("a text that cannot be converted")]
    Text,
    #[error("there is no element of this index or key")]
    Missing,
    #[error("it takes more than {MAX_STEPS} steps")]
    Steps,
}

type Outcome<'a> = Result<Value<'a>, Failure>;

/// Whether it is true.
pub(super) fn evaluate(root: &Node, event: &DynamicMessage) -> Result<bool, Failure> {
    let mut evaluator = Evaluator { event, left: MAX_STEPS, variables: Vec::new() };
    match evaluator.value(root)? {
        Value::Bool(value) => Ok(value),
        other => Err(Failure::Type(other.name())),
    }
}

struct Evaluator<'a> {
    event: &'a DynamicMessage,
    left: u32,
    variables: Vec<(&'a str, Value<'a>)>,
}

impl<'a> Evaluator<'a> {
    fn spend(&mut self, bytes: usize) -> Result<(), Failure> {
        let steps = u32::try_from(bytes / 64 + 1).unwrap_or(u32::MAX);
        self.left = self.left.checked_sub(steps).ok_or(Failure::Steps)?;
        Ok(())
    }

    fn value(&mut self, node: &'a Node) -> Outcome<'a> {
        self.spend(0)?;
        match &node.kind {
            Kind::Literal(literal) => Ok(constant(literal)),
            Kind::Name(name) => self.name(name),
            Kind::Select(target, field) => {
                let target = self.value(target)?;
                self.select(target, field)
            }
            Kind::Has(target, field) => {
                let found = match self.value(target)? {
                    Value::Message(message) => message.has_field_by_name(field),
                    Value::Map(map) => self.entry(&map, &Value::Text(Cow::Borrowed(field)))?.is_some(),
                    other => return Err(Failure::Type(other.name())),
                };
                Ok(Value::Bool(found))
            }
            Kind::Index(target, index) => {
                let (target, index) = (self.value(target)?, self.value(index)?);
                self.element(&target, &index)
            }
            Kind::Matches(text, regex) => match self.value(text)? {
                Value::Text(text) => {
                    self.spend(text.len())?;
                    Ok(Value::Bool(regex.is_match(&text)))
                }
                other => Err(Failure::Type(other.name())),
            },
            Kind::Call(name, target, arguments) => {
                let mut given = Vec::with_capacity(arguments.len() + 1);
                for part in target.iter().map(|target| &**target).chain(arguments) {
                    let value = self.value(part)?;
                    self.spend(value.weight())?;
                    given.push(value);
                }
                functions::call(name, &given)
            }
            Kind::List(parts) => {
                let list = parts.iter().map(|part| self.value(part)).collect::<Result<_, _>>()?;
                Ok(Value::List(Rc::new(list)))
            }
            Kind::Map(entries) => {
                let pair = |(key, value): &'a (Node, Node)| Ok((self.value(key)?, self.value(value)?));
                Ok(Value::Map(Rc::new(entries.iter().map(pair).collect::<Result<_, Failure>>()?)))
            }
            Kind::Conditional(parts) => {
                let [condition, yes, no] = &**parts;
                if self.bool(condition)? { self.value(yes) } else { self.value(no) }
            }
            Kind::And(parts) => self.joined(parts.iter(), false),
            Kind::Or(parts) => self.joined(parts.iter(), true),
            Kind::Not(inner) => self.bool(inner).map(|value| Value::Bool(!value)),
            Kind::Negate(inner) => match self.value(inner)? {
                Value::Int(value) => value.checked_neg().map(Value::Int).ok_or(Failure::Range),
                Value::Double(value) => Ok(Value::Double(-value)),
                other => Err(Failure::Type(other.name())),
            },
            Kind::Binary(operator, left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                self.binary(*operator, left, right)
            }
            Kind::Macro(found) => self.comprehension(found),
        }
    }

    fn bool(&mut self, node: &'a Node) -> Result<bool, Failure> {
        match self.value(node)? {
            Value::Bool(value) => Ok(value),
            other => Err(Failure::Type(other.name())),
        }
    }

    /// Several of which one that is `decisive` decides, also when others fail.
    fn joined(&mut self, parts: impl Iterator<Item = &'a Node>, decisive: bool) -> Outcome<'a> {
        let mut failure = None;
        for part in parts {
            match self.bool(part) {
                Ok(value) if value == decisive => return Ok(Value::Bool(decisive)),
                Ok(_) => {}
                Err(Failure::Steps) => return Err(Failure::Steps),
                Err(failed) => failure = failure.or(Some(failed)),
            }
        }
        failure.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    fn name(&self, name: &str) -> Outcome<'a> {
        if let Some((_, value)) = self.variables.iter().rev().find(|(variable, _)| *variable == name) {
            return Ok(value.clone());
        }
        let field = self.event.descriptor().get_field_by_name(name).ok_or(Failure::Missing)?;
        if !self.event.has_field(&field) {
            return Err(Failure::OtherKind);
        }
        Ok(Value::field(Cow::Borrowed(self.event), &field))
    }

    fn select(&mut self, target: Value<'a>, field: &'a str) -> Outcome<'a> {
        let value = match target {
            Value::Message(message) => {
                let field = message.descriptor().get_field_by_name(field).ok_or(Failure::Missing)?;
                Value::field(message, &field)
            }
            Value::Map(map) => {
                self.entry(&map, &Value::Text(Cow::Borrowed(field)))?.ok_or(Failure::Missing)?
            }
            other => return Err(Failure::Type(other.name())),
        };
        // A list is made of its elements.
        if matches!(value, Value::List(_) | Value::Map(_)) {
            self.spend(value.weight())?;
        }
        Ok(value)
    }

    fn entry(
        &mut self,
        map: &[(Value<'a>, Value<'a>)],
        key: &Value<'a>,
    ) -> Result<Option<Value<'a>>, Failure> {
        self.spend(64 * map.len())?;
        Ok(map.iter().find(|(other, _)| other.equals(key)).map(|(_, value)| value.clone()))
    }

    fn element(&mut self, target: &Value<'a>, index: &Value<'a>) -> Outcome<'a> {
        match target {
            Value::List(list) => {
                let at = match *index {
                    Value::Int(at) => usize::try_from(at).ok(),
                    Value::Uint(at) => usize::try_from(at).ok(),
                    #[expect(clippy::cast_possible_truncation, reason = "it is whole and small")]
                    #[expect(clippy::cast_sign_loss, reason = "it is not negative")]
                    Value::Double(at) if at.fract() == 0.0 && (0.0..1e9).contains(&at) => Some(at as usize),
                    _ => None,
                };
                at.and_then(|at| list.get(at)).cloned().ok_or(Failure::Missing)
            }
            Value::Map(map) => self.entry(map, index)?.ok_or(Failure::Missing),
            other => Err(Failure::Type(other.name())),
        }
    }

    fn binary(&mut self, operator: Operator, left: Value<'a>, right: Value<'a>) -> Outcome<'a> {
        use Operator::{Add, Equal, Greater, GreaterOrEqual, In, Less, LessOrEqual, NotEqual};
        self.spend(left.weight().saturating_add(right.weight()))?;
        let ordered = |test: fn(Ordering) -> bool| {
            // A number that is none is neither less nor greater than any.
            let numbers = matches!((&left, &right), (Value::Double(_), _) | (_, Value::Double(_)));
            match left.order(&right) {
                Some(order) => Ok(Value::Bool(test(order))),
                None if numbers => Ok(Value::Bool(false)),
                None => Err(Failure::Type(left.name())),
            }
        };
        match operator {
            Equal => Ok(Value::Bool(left.equals(&right))),
            NotEqual => Ok(Value::Bool(!left.equals(&right))),
            Less => ordered(Ordering::is_lt),
            LessOrEqual => ordered(Ordering::is_le),
            Greater => ordered(Ordering::is_gt),
            GreaterOrEqual => ordered(Ordering::is_ge),
            In => match &right {
                Value::List(list) => {
                    let weight = left.weight().saturating_mul(list.len());
                    self.spend(weight)?;
                    Ok(Value::Bool(list.iter().any(|other| other.equals(&left))))
                }
                Value::Map(map) => self.entry(map, &left).map(|found| Value::Bool(found.is_some())),
                other => Err(Failure::Type(other.name())),
            },
            Add => add(left, right),
            _ => calculate(operator, &left, &right),
        }
    }

    fn comprehension(&mut self, found: &'a Macro) -> Outcome<'a> {
        let range = self.value(&found.range)?;
        let elements: Vec<Value<'a>> = match &range {
            Value::List(list) => list.to_vec(),
            Value::Map(map) => map.iter().map(|(key, _)| key.clone()).collect(),
            other => return Err(Failure::Type(other.name())),
        };
        self.spend(range.weight())?;
        let (mut list, mut count, mut failure) = (Vec::new(), 0u32, None);
        for element in elements {
            self.variables.push((&found.variable, element.clone()));
            let outcome = self.round(found);
            self.variables.pop();
            let outcome = match outcome {
                Ok(outcome) => outcome,
                // As with `&&` and `||`, one element that decides makes up for others that fail.
                Err(failed) if failed != Failure::Steps && matches!(found.word, Word::All | Word::Exists) => {
                    failure = failure.or(Some(failed));
                    continue;
                }
                Err(failed) => return Err(failed),
            };
            match (found.word, outcome) {
                (Word::All, Some(Value::Bool(false))) => return Ok(Value::Bool(false)),
                (Word::Exists, Some(Value::Bool(true))) => return Ok(Value::Bool(true)),
                (Word::ExistsOne, Some(Value::Bool(true))) => count += 1,
                (Word::Filter, Some(Value::Bool(true))) => list.push(element),
                (Word::Map, Some(value)) => list.push(value),
                _ => {}
            }
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        Ok(match found.word {
            Word::All => Value::Bool(true),
            Word::Exists => Value::Bool(false),
            Word::ExistsOne => Value::Bool(count == 1),
            Word::Filter | Word::Map => Value::List(Rc::new(list)),
        })
    }

    /// One element; `None`: it does not meet the condition.
    fn round(&mut self, found: &'a Macro) -> Result<Option<Value<'a>>, Failure> {
        if let Some(condition) = &found.condition
            && !self.bool(condition)?
        {
            return Ok(None);
        }
        self.value(&found.body).map(Some)
    }
}

fn constant(literal: &Literal) -> Value<'_> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Uint(value) => Value::Uint(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::Text(text) => Value::Text(Cow::Borrowed(text)),
        Literal::Bytes(bytes) => Value::Bytes(Cow::Borrowed(bytes)),
    }
}

fn add<'a>(left: Value<'a>, right: Value<'a>) -> Outcome<'a> {
    Ok(match (left, right) {
        (Value::Text(one), Value::Text(other)) => Value::Text(Cow::Owned(one.into_owned() + &other)),
        (Value::Bytes(one), Value::Bytes(other)) => Value::Bytes(Cow::Owned([&*one, &*other].concat())),
        (Value::List(one), Value::List(other)) => {
            Value::List(Rc::new(one.iter().chain(&*other).cloned().collect()))
        }
        (Value::Timestamp(time), Value::Duration(span)) | (Value::Duration(span), Value::Timestamp(time)) => {
            Value::Timestamp(time.checked_add(span).ok_or(Failure::Range)?)
        }
        (Value::Duration(one), Value::Duration(other)) => {
            Value::Duration(one.checked_add(other).ok_or(Failure::Range)?)
        }
        (left, right) => return calculate(Operator::Add, &left, &right),
    })
}

fn calculate<'a>(operator: Operator, left: &Value<'a>, right: &Value<'a>) -> Outcome<'a> {
    use Operator::{Add, Divide, Multiply, Remainder, Subtract};
    let division = matches!(operator, Divide | Remainder);
    let found = match (left, right) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) if division => {
            return Err(Failure::Zero);
        }
        (&Value::Int(one), &Value::Int(other)) => match operator {
            Add => one.checked_add(other),
            Subtract => one.checked_sub(other),
            Multiply => one.checked_mul(other),
            Divide => one.checked_div(other),
            Remainder => one.checked_rem(other),
            _ => None,
        }
        .map(Value::Int),
        (&Value::Uint(one), &Value::Uint(other)) => match operator {
            Add => one.checked_add(other),
            Subtract => one.checked_sub(other),
            Multiply => one.checked_mul(other),
            Divide => one.checked_div(other),
            Remainder => one.checked_rem(other),
            _ => None,
        }
        .map(Value::Uint),
        (&Value::Double(one), &Value::Double(other)) => match operator {
            Add => Some(one + other),
            Subtract => Some(one - other),
            Multiply => Some(one * other),
            Divide => Some(one / other),
            _ => None,
        }
        .map(Value::Double),
        (Value::Timestamp(one), Value::Timestamp(other)) if operator == Subtract => {
            one.checked_sub(*other).map(Value::Duration)
        }
        (Value::Timestamp(one), Value::Duration(other)) if operator == Subtract => {
            one.checked_sub(*other).map(Value::Timestamp)
        }
        (Value::Duration(one), Value::Duration(other)) if operator == Subtract => {
            one.checked_sub(*other).map(Value::Duration)
        }
        _ => return Err(Failure::Type(if matches!(left, Value::Null) { left } else { right }.name())),
    };
    found.ok_or(Failure::Range)
}
