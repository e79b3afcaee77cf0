//! Evaluates one expression. It never recurses deeper than [`MAX_DEPTH`] and never panics.

use std::iter::Peekable;
use std::str::Chars;

const MAX_DEPTH: usize = 64;

/// Why an expression has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Malformed,
    TooDeep,
    DivisionByZero,
    TooLarge,
    NotReal,
}

/// Recursive descent: expression, term, unary, power, atom.
pub struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    depth: usize,
    /// How many operators with two sides it has met; none means that it read a mere number.
    pub operations: usize,
}

impl<'a> Parser<'a> {
    pub fn new(expression: &'a str) -> Self {
        Self { rest: expression.chars().peekable(), depth: 0, operations: 0 }
    }

    /// The value of the whole expression.
    ///
    /// # Errors
    /// Says why when it is malformed, nested too deeply, or has no finite real value.
    pub fn whole(&mut self) -> Result<f64, Refusal> {
        let value = self.expression()?;
        if self.peek().is_some() {
            return Err(Refusal::Malformed);
        }
        match value {
            value if value.is_nan() => Err(Refusal::NotReal),
            value if value.is_infinite() => Err(Refusal::TooLarge),
            value => Ok(value),
        }
    }

    fn peek(&mut self) -> Option<char> {
        while self.rest.next_if_eq(&' ').is_some() {}
        self.rest.peek().copied()
    }

    fn take(&mut self, operators: &[char]) -> Option<char> {
        let operator = self.peek().filter(|c| operators.contains(c))?;
        self.rest.next();
        Some(operator)
    }

    fn nested(&mut self, inner: fn(&mut Self) -> Result<f64, Refusal>) -> Result<f64, Refusal> {
        if self.depth == MAX_DEPTH {
            return Err(Refusal::TooDeep);
        }
        self.depth += 1;
        let value = inner(self);
        self.depth -= 1;
        value
    }

    fn expression(&mut self) -> Result<f64, Refusal> {
        let mut value = self.term()?;
        while let Some(operator) = self.take(&['+', '-']) {
            self.operations += 1;
            let right = self.term()?;
            value += if operator == '+' { right } else { -right };
        }
        Ok(value)
    }

    fn term(&mut self) -> Result<f64, Refusal> {
        let mut value = self.unary()?;
        while let Some(operator) = self.take(&['*', '/']) {
            self.operations += 1;
            let right = self.unary()?;
            if operator == '*' {
                value *= right;
            } else if right == 0.0 {
                return Err(Refusal::DivisionByZero);
            } else {
                value /= right;
            }
        }
        Ok(value)
    }

    fn unary(&mut self) -> Result<f64, Refusal> {
        match self.take(&['+', '-']) {
            Some('-') => Ok(-self.nested(Self::unary)?),
            Some(_) => self.nested(Self::unary),
            None => self.power(),
        }
    }

    fn power(&mut self) -> Result<f64, Refusal> {
        let mut base = self.atom()?;
        while self.take(&['%']).is_some() {
            base /= 100.0;
        }
        if self.take(&['^']).is_none() {
            return Ok(base);
        }
        self.operations += 1;
        let exponent = self.nested(Self::unary)?;
        if base == 0.0 && exponent < 0.0 { Err(Refusal::DivisionByZero) } else { Ok(base.powf(exponent)) }
    }

    fn atom(&mut self) -> Result<f64, Refusal> {
        if self.take(&['(']).is_some() {
            let value = self.nested(Self::expression)?;
            return self.take(&[')']).map(|_| value).ok_or(Refusal::Malformed);
        }
        self.peek();
        let mut number = String::new();
        while let Some(c) = self.rest.next_if(|c| c.is_ascii_digit() || *c == '.') {
            number.push(c);
        }
        number.parse().map_err(|_| Refusal::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluate(expression: &str) -> Result<f64, Refusal> {
        Parser::new(expression).whole()
    }

    #[test]
    fn precedence_is_the_usual_one() {
        for (expression, value) in
            [("2+3*4", 14.0), ("(2+3)*4", 20.0), ("2^3^2", 512.0), ("-2^2", -4.0), ("2^-1", 0.5), ("10-4-3", 3.0), ("1.5 / .5", 3.0), ("50%*8", 4.0)]
        {
            assert_eq!(evaluate(expression), Ok(value), "{expression}");
        }
    }

    #[test]
    fn what_has_no_value_is_refused_not_panicked_over() {
        assert_eq!(evaluate("1/0"), Err(Refusal::DivisionByZero));
        assert_eq!(evaluate("0^-1"), Err(Refusal::DivisionByZero));
        assert_eq!(evaluate("9^9^9^9"), Err(Refusal::TooLarge));
        assert_eq!(evaluate("(-8)^(1/3)"), Err(Refusal::NotReal));
        assert_eq!(evaluate(&format!("{}1{}", "(".repeat(5_000), ")".repeat(5_000))), Err(Refusal::TooDeep));
        assert_eq!(evaluate(&"-".repeat(16_000)), Err(Refusal::TooDeep));
        for malformed in ["", "1+", ")", "1 2", "1.2.3", "(1", ".", "%"] {
            assert_eq!(evaluate(malformed), Err(Refusal::Malformed), "{malformed}");
        }
    }
}
