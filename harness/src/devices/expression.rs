//! What a person writes to choose devices: `pi5`, `tag:pi and not pi4`, `all`. Text in, a tree out; which
//! devices there are is the registry's business.

use std::{iter::Peekable, str::FromStr, vec::IntoIter};

/// Longest expression.
const MAX_CHARS: usize = 4096;

/// Deepest nesting: recursion on a person's text must end.
const MAX_DEPTH: u32 = 50;

/// What choosing looks like; shown with every mistake.
const GRAMMAR: &str =
    "write an id, tag:NAME, a transport, transport:address or all, joined with and, or, not and ( )";

/// A choice of devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    /// Every device.
    All,
    /// Devices with this tag.
    Tag(String),
    /// An id, a transport, or a transport with an address.
    Name(String),
    /// Those that are not.
    Not(Box<Expression>),
    /// Those that are both.
    And(Box<Expression>, Box<Expression>),
    /// Those that are either.
    Or(Box<Expression>, Box<Expression>),
}

/// What a device is asked about itself.
pub(crate) trait Candidate {
    /// It has this tag.
    fn has_tag(&self, tag: &str) -> bool;
    /// It is meant by this name.
    fn is_called(&self, name: &str) -> bool;
}

impl Expression {
    /// The device is chosen.
    pub(crate) fn chooses(&self, device: &impl Candidate) -> bool {
        match self {
            Self::All => true,
            Self::Tag(tag) => device.has_tag(tag),
            Self::Name(name) => device.is_called(name),
            Self::Not(inner) => !inner.chooses(device),
            Self::And(a, b) => a.chooses(device) && b.chooses(device),
            Self::Or(a, b) => a.chooses(device) || b.chooses(device),
        }
    }

    /// Calls `visit` for this and everything in it.
    pub(crate) fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Self)) {
        visit(self);
        match self {
            Self::All | Self::Tag(_) | Self::Name(_) => {}
            Self::Not(inner) => inner.walk(visit),
            Self::And(a, b) | Self::Or(a, b) => {
                a.walk(visit);
                b.walk(visit);
            }
        }
    }
}

impl FromStr for Expression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: String| format!("{text:?} chooses no device: {why}; {GRAMMAR}");
        if text.len() > MAX_CHARS {
            return Err(format!("a choice of devices is longer than {MAX_CHARS} bytes"));
        }
        let mut parser = Parser { tokens: tokens(text).map_err(wrong)?.into_iter().peekable(), depth: 0 };
        let parsed = parser.either().map_err(wrong)?;
        match parser.tokens.next() {
            None => Ok(parsed),
            Some(token) => Err(wrong(format!("{} stands where it should end", token.shown()))),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    /// Without quotes it may be a keyword.
    Bare(String),
    Quoted(String),
}

impl Token {
    fn shown(&self) -> String {
        match self {
            Self::Open => "(".to_owned(),
            Self::Close => ")".to_owned(),
            Self::Bare(word) | Self::Quoted(word) => format!("{word:?}"),
        }
    }

    fn is(&self, keyword: &str) -> bool {
        matches!(self, Self::Bare(word) if word == keyword)
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut rest = text.trim_start();
    let mut found = Vec::new();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '"' => {
                let inner = rest.get(1..).and_then(|r| r.split_once('"')).map(|(inner, _)| inner);
                let inner = inner.ok_or("a \" is not closed")?;
                (Token::Quoted(inner.to_owned()), inner.len() + 2)
            }
            _ => {
                let ends = |c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"');
                let word = rest.split(ends).next().unwrap_or_default();
                (Token::Bare(word.to_owned()), word.len())
            }
        };
        found.push(token);
        rest = rest.get(length..).unwrap_or_default().trim_start();
    }
    Ok(found)
}

struct Parser {
    tokens: Peekable<IntoIter<Token>>,
    depth: u32,
}

impl Parser {
    fn either(&mut self) -> Result<Expression, String> {
        let mut left = self.both()?;
        while self.tokens.next_if(|t| t.is("or")).is_some() {
            left = Expression::Or(Box::new(left), Box::new(self.both()?));
        }
        Ok(left)
    }

    fn both(&mut self) -> Result<Expression, String> {
        let mut left = self.one()?;
        while self.tokens.next_if(|t| t.is("and")).is_some() {
            left = Expression::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("it is nested deeper than {MAX_DEPTH}"));
        }
        let parsed = match self.tokens.next() {
            None => Err("it ends where a device should stand".to_owned()),
            Some(Token::Open) => {
                let inner = self.either()?;
                let closed = self.tokens.next_if_eq(&Token::Close).is_some();
                if closed { Ok(inner) } else { Err("a ( is not closed".to_owned()) }
            }
            Some(Token::Quoted(word)) => Ok(name(word)),
            Some(token) if token.is("not") => Ok(Expression::Not(Box::new(self.one()?))),
            Some(Token::Bare(word)) if !matches!(word.as_str(), "and" | "or") => Ok(match word.as_str() {
                "all" => Expression::All,
                _ => name(word),
            }),
            Some(token) => Err(format!("{} stands where a device should", token.shown())),
        };
        self.depth -= 1;
        parsed
    }
}

fn name(word: String) -> Expression {
    match word.strip_prefix("tag:") {
        Some(tag) => Expression::Tag(tag.to_owned()),
        None => Expression::Name(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Expression {
        text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    fn named(name: &str) -> Box<Expression> {
        Box::new(Expression::Name(name.to_owned()))
    }

    #[test]
    fn not_binds_closest_and_or_loosest() {
        use Expression::{All, And, Not, Or, Tag};
        assert_eq!(parsed("pi5"), *named("pi5"));
        assert_eq!(parsed(" ssh:pi@[fe80::1]:22 "), *named("ssh:pi@[fe80::1]:22"));
        assert_eq!(parsed("\"fake:a folder/(x).toml\""), *named("fake:a folder/(x).toml"));
        assert_eq!(parsed("\"all\""), *named("all"), "quotes take a keyword's meaning away");
        let without = And(Box::new(Tag("pi".into())), Box::new(Not(named("pi4"))));
        assert_eq!(parsed("tag:pi and not pi4"), without);
        assert_eq!(parsed("all or tag:pi and not pi4"), Or(Box::new(All), Box::new(without.clone())));
        assert_eq!(parsed("(all or a)and(b)"), And(Box::new(Or(Box::new(All), named("a"))), named("b")));
        assert_eq!(parsed("a or b or c"), Or(Box::new(Or(named("a"), named("b"))), named("c")));
        assert_eq!(parsed("not not a"), Not(Box::new(Not(named("a")))));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, why) in [
            ("", "ends where"),
            ("a and", "ends where"),
            ("and a", "\"and\" stands where a device"),
            ("a b", "\"b\" stands where it should end"),
            ("(a", "( is not closed"),
            ("a)", ") stands where it should end"),
            ("not", "ends where"),
            ("\"a", "\" is not closed"),
            (&"(".repeat(1000), "nested deeper"),
            (&"not ".repeat(1000), "nested deeper"),
            (&"a".repeat(5000), "longer than"),
        ] {
            let error = text.parse::<Expression>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    /// Four devices, told apart by the two bits of their number.
    struct Bits(u8);

    impl Candidate for Bits {
        fn has_tag(&self, tag: &str) -> bool {
            tag == "odd" && self.0 & 1 == 1
        }

        fn is_called(&self, name: &str) -> bool {
            name == "high" && self.0 & 2 == 2
        }
    }

    fn shown(expression: &Expression) -> String {
        match expression {
            Expression::All => "all".to_owned(),
            Expression::Tag(tag) => format!("\"tag:{tag}\""),
            Expression::Name(name) => format!("\"{name}\""),
            Expression::Not(inner) => format!("not ({})", shown(inner)),
            Expression::And(a, b) => format!("({}) and ({})", shown(a), shown(b)),
            Expression::Or(a, b) => format!("({}) or ({})", shown(a), shown(b)),
        }
    }

    fn trees() -> impl Strategy<Value = Expression> {
        let leaf = prop_oneof![
            Just(Expression::All),
            Just(Expression::Tag("odd".to_owned())),
            Just(Expression::Name("high".to_owned())),
        ];
        leaf.prop_recursive(6, 40, 2, |inner| {
            prop_oneof![
                inner.clone().prop_map(|a| Expression::Not(Box::new(a))),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| Expression::And(Box::new(a), Box::new(b))),
                (inner.clone(), inner).prop_map(|(a, b)| Expression::Or(Box::new(a), Box::new(b))),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(tree in trees()) {
            prop_assert_eq!(parsed(&shown(&tree)), tree);
        }

        #[test]
        fn choosing_obeys_the_laws_of_logic(a in trees(), b in trees(), device in 0u8..4) {
            let (a, b, device) = (shown(&a), shown(&b), Bits(device));
            let chosen = |text: String| parsed(&text).chooses(&device);
            prop_assert_eq!(chosen(format!("not ({a})")), !chosen(a.clone()));
            prop_assert_eq!(
                chosen(format!("not (({a}) and ({b}))")),
                chosen(format!("not ({a}) or not ({b})"))
            );
            prop_assert_eq!(chosen(format!("({a}) and all")), chosen(a));
        }

        #[test]
        fn any_text_is_a_choice_or_a_mistake_in_words(text in "([a-z:() \"]|and |or |not |\\PC){0,60}") {
            match text.parse::<Expression>() {
                Ok(expression) => prop_assert_eq!(parsed(&shown(&expression)), expression),
                Err(why) => prop_assert!(!why.is_empty()),
            }
        }
    }
}
