//! From tokens to a tree.

use super::lex::{Token, tokens};
use super::{Kind, Literal, MAX_DEPTH, Macro, Mistake, Node, Operator, Word};

pub(super) fn parse(text: &str) -> Result<Node, Mistake> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, depth: 0 };
    let root = parser.expression()?;
    match parser.peek() {
        Token::End => Ok(root),
        _ => Err(Mistake::new(parser.at(), "the expression should end here")),
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.next).map_or(&Token::End, |(_, token)| token)
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).or(self.tokens.last()).map_or(0, |(at, _)| *at)
    }

    fn takes(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(found) if *found == sign);
        self.next += usize::from(found);
        found
    }

    fn wants(&mut self, sign: &str) -> Result<(), Mistake> {
        if self.takes(sign) {
            Ok(())
        } else {
            Err(Mistake::new(self.at(), format!("`{sign}` is expected here")))
        }
    }

    /// One level deeper, as far as that goes: whatever follows is done by functions that call each other.
    fn deeper(&mut self) -> Result<(), Mistake> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Mistake::new(self.at(), format!("parts are nested more than {MAX_DEPTH} times")));
        }
        Ok(())
    }

    fn expression(&mut self) -> Result<Node, Mistake> {
        self.deeper()?;
        let condition = self.either()?;
        let node = if self.takes("?") {
            let yes = self.either()?;
            self.wants(":")?;
            let no = self.expression()?;
            Node { at: condition.at, kind: Kind::Conditional(Box::new([condition, yes, no])) }
        } else {
            condition
        };
        self.depth -= 1;
        Ok(node)
    }

    fn either(&mut self) -> Result<Node, Mistake> {
        self.joined("||", Self::both, Kind::Or)
    }

    fn both(&mut self) -> Result<Node, Mistake> {
        self.joined("&&", Self::relation, Kind::And)
    }

    fn joined(
        &mut self,
        sign: &str,
        part: fn(&mut Self) -> Result<Node, Mistake>,
        kind: fn(Vec<Node>) -> Kind,
    ) -> Result<Node, Mistake> {
        let first = part(self)?;
        if !matches!(self.peek(), Token::Sign(found) if *found == sign) {
            return Ok(first);
        }
        let at = first.at;
        let mut parts = vec![first];
        while self.takes(sign) {
            parts.push(part(self)?);
        }
        Ok(Node { at, kind: kind(parts) })
    }

    fn relation(&mut self) -> Result<Node, Mistake> {
        use Operator::{Equal, Greater, GreaterOrEqual, In, Less, LessOrEqual, NotEqual};
        self.binary(&[Equal, NotEqual, LessOrEqual, GreaterOrEqual, Less, Greater, In], Self::sum)
    }

    fn sum(&mut self) -> Result<Node, Mistake> {
        self.binary(&[Operator::Add, Operator::Subtract], Self::product)
    }

    fn product(&mut self) -> Result<Node, Mistake> {
        self.binary(&[Operator::Multiply, Operator::Divide, Operator::Remainder], Self::unary)
    }

    /// Operators of one rank, from left to right. Each makes the tree deeper.
    fn binary(
        &mut self,
        operators: &[Operator],
        part: fn(&mut Self) -> Result<Node, Mistake>,
    ) -> Result<Node, Mistake> {
        let mut left = part(self)?;
        let mut count = 0;
        while let Some(operator) = operators.iter().copied().find(|operator| self.takes(operator.sign())) {
            self.deeper()?;
            count += 1;
            let right = part(self)?;
            left = Node { at: left.at, kind: Kind::Binary(operator, Box::new(left), Box::new(right)) };
        }
        self.depth -= count;
        Ok(left)
    }

    fn unary(&mut self) -> Result<Node, Mistake> {
        let at = self.at();
        let not = self.takes("!");
        if !not && !self.takes("-") {
            return self.member();
        }
        self.deeper()?;
        // The least number has no positive one.
        if let (false, Token::Literal(Literal::Int(i64::MIN))) = (not, self.peek()) {
            self.next += 1;
            self.depth -= 1;
            return Ok(Node { at, kind: Kind::Literal(Literal::Int(i64::MIN)) });
        }
        let inner = Box::new(self.unary()?);
        self.depth -= 1;
        let kind = if not { Kind::Not(inner) } else { Kind::Negate(inner) };
        Ok(Node { at, kind })
    }

    fn member(&mut self) -> Result<Node, Mistake> {
        let mut node = self.primary()?;
        let mut count = 0;
        loop {
            let at = self.at();
            if self.takes(".") {
                let (at, name) = (self.at(), self.name()?);
                let target = Box::new(node);
                let kind = if self.takes("(") {
                    self.method(*target, name, at)?
                } else {
                    Kind::Select(target, name)
                };
                node = Node { at, kind };
            } else if self.takes("[") {
                let index = self.expression()?;
                self.wants("]")?;
                node = Node { at, kind: Kind::Index(Box::new(node), Box::new(index)) };
            } else {
                self.depth -= count;
                return Ok(node);
            }
            self.deeper()?;
            count += 1;
        }
    }

    fn name(&mut self) -> Result<String, Mistake> {
        match self.peek() {
            Token::Name(name) => {
                let name = name.clone();
                self.next += 1;
                Ok(name)
            }
            _ => Err(Mistake::new(self.at(), "a name is expected here")),
        }
    }

    fn method(&mut self, target: Node, name: String, at: usize) -> Result<Kind, Mistake> {
        let mut arguments = self.list(")")?;
        let word = match name.as_str() {
            "all" => Word::All,
            "exists" => Word::Exists,
            "exists_one" | "existsOne" => Word::ExistsOne,
            "filter" => Word::Filter,
            "map" => Word::Map,
            _ => return Ok(Kind::Call(name, Some(Box::new(target)), arguments)),
        };
        let counts = if word == Word::Map { 2..=3 } else { 2..=2 };
        if !counts.contains(&arguments.len()) {
            return Err(Mistake::new(at, format!("`{name}` takes a variable and an expression")));
        }
        let first = arguments.remove(0);
        let Kind::Name(variable) = first.kind else {
            return Err(Mistake::new(first.at, "the name of a variable is expected here"));
        };
        let body = arguments.pop().unwrap_or(Node { at, kind: Kind::Literal(Literal::Null) });
        let condition = arguments.pop();
        Ok(Kind::Macro(Box::new(Macro { word, range: target, variable, condition, body })))
    }

    /// Expressions with commas between, up to the closing bracket.
    fn list(&mut self, close: &str) -> Result<Vec<Node>, Mistake> {
        let mut list = Vec::new();
        while !self.takes(close) {
            list.push(self.expression()?);
            if !self.takes(",") {
                self.wants(close)?;
                break;
            }
        }
        Ok(list)
    }

    fn primary(&mut self) -> Result<Node, Mistake> {
        let at = self.at();
        if self.takes("(") {
            let inner = self.expression()?;
            self.wants(")")?;
            return Ok(inner);
        }
        if self.takes("[") {
            return Ok(Node { at, kind: Kind::List(self.list("]")?) });
        }
        if self.takes("{") {
            return Ok(Node { at, kind: Kind::Map(self.entries()?) });
        }
        if let Token::Literal(literal) = self.peek() {
            if *literal == Literal::Int(i64::MIN) {
                return Err(Mistake::new(at, "this number does not fit 63 bits; write u behind it"));
            }
            let kind = Kind::Literal(literal.clone());
            self.next += 1;
            return Ok(Node { at, kind });
        }
        if !matches!(self.peek(), Token::Name(_)) {
            return Err(Mistake::new(at, "a value is expected here"));
        }
        let name = self.name()?;
        if !self.takes("(") {
            return Ok(Node { at, kind: Kind::Name(name) });
        }
        let mut arguments = self.list(")")?;
        if name != "has" {
            return Ok(Node { at, kind: Kind::Call(name, None, arguments) });
        }
        let wrong = Mistake::new(at, "`has` takes a field, such as has(process_exec.parent)");
        match (arguments.pop().map(|node| node.kind), arguments.is_empty()) {
            (Some(Kind::Select(target, field)), true) => Ok(Node { at, kind: Kind::Has(target, field) }),
            _ => Err(wrong),
        }
    }

    fn entries(&mut self) -> Result<Vec<(Node, Node)>, Mistake> {
        let mut entries = Vec::new();
        while !self.takes("}") {
            let key = self.expression()?;
            self.wants(":")?;
            entries.push((key, self.expression()?));
            if !self.takes(",") {
                self.wants("}")?;
                break;
            }
        }
        Ok(entries)
    }
}
